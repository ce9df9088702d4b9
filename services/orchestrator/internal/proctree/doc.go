// Package proctree runs a child process and everything the child starts as one unit, so that nothing of it outlives its end.
//
// Codex starts commands of its own choosing, and in danger-full-access they sit in sessions of their own: killing the
// process, its group or its session leaves them running, and so does a worker that is itself killed. This package therefore
// contains each child by the strongest means the machine grants, probed once in New:
//
//   - Linux, "namespace": a PID and mount namespace per child (with a user namespace where the worker has no privileges). The
//     kernel kills what is in it when its first process ends, which happens with the child's end, with Kill and with the
//     worker's death. That process is the program itself, so that a child costs nothing beside it: between its creation and the
//     program it makes the system calls of a plan. It gets no signal it has no handler for (Codex has one for SIGINT; Kill is
//     always heard), and orphans of its commands stay zombies until its end. On amd64 and arm64.
//   - Linux, "cgroup": a cgroup v2 of its own per child, killed as a whole, on top of what "scan" does.
//   - Linux, "scan": a reaper per child adopts orphans and kills by a mark that every descendant inherits; what
//     even the reaper's SIGKILL leaves behind is found at the next New with the same state directory.
//   - macOS, "process-group": the group plus a watch over the descendants.
//   - Windows, "job-object": a job that dies with its last handle.
//
// One goroutine owns each child and always waits for it. Standard error is drained always and kept only as a bounded tail.
package proctree
