package proctree

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// program is what a child is to become.
type program struct {
	path, dir  string
	args, env  []string // args with argv[0]
	mask, keep []string
}

// settler is a child that is the first process of its namespaces. The kernel ends the others with it.
type settler struct{ process *os.Process }

// settle starts a child in namespaces of its own. It arranges by system calls what the program is to see and then becomes it,
// so that a turn costs nothing beside its program.
func (p *platform) settle(prog program, stdio endpoints) (child, error) {
	todo, err := p.settlement(prog, stdio)
	if err != nil {
		return nil, &SpawnError{Kind: Refused, Err: err}
	}
	var pid int
	p.spawner.do(func() { pid, err = todo.fork(p.way.cloneFlags()) })
	if err != nil {
		return nil, &SpawnError{Kind: Refused, Err: os.NewSyscallError("clone", err)}
	}
	process, err := os.FindProcess(pid) // nobody else waits for it: the number is its own until wait
	if err != nil {
		return nil, &SpawnError{Kind: Refused, Err: err}
	}
	s := &settler{process: process}
	if failed := todo.failure(); failed != nil {
		s.wait()
		failed.Err = fmt.Errorf("containment: %w", failed.Err)
		return nil, failed
	}
	return s, nil
}

// settlement is the plan of a child.
func (p *platform) settlement(prog program, stdio endpoints) (*plan, error) {
	todo := &plan{steps: make([]step, 0, len(p.leaving)+64)}
	// First, so that little can be missed; see leave.
	todo.must("parent-death signal", "", unix.SYS_PRCTL, number(unix.PR_SET_PDEATHSIG), number(unix.SIGKILL))
	todo.must("setsid", "", unix.SYS_SETSID) // keeps a terminal's Ctrl-C, and the terminal, from it
	todo.streams(stdio)
	if p.way.user {
		todo.identity()
	}
	if err := todo.mounts(prog.mask, prog.keep); err != nil {
		return nil, err
	}
	todo.steps = append(todo.steps, p.leaving...)
	todo.become(prog)
	return todo, todo.err
}

// leave prepares the steps by which every child leaves behind what it has of the worker.
func (p *platform) leave() error {
	held := all
	if !p.way.user {
		var err error
		if held, err = ownCapabilities(); err != nil {
			return err
		}
	}
	todo := &plan{}
	todo.dropCapabilities(held)
	todo.freshSignals()
	if p.files != nil {
		todo.must("prlimit", "", unix.SYS_PRLIMIT64, number(0), number(unix.RLIMIT_NOFILE), at(p.files), number(0))
	}
	// Whatever the worker's own parent left open; kernels before 5.11 cannot.
	todo.may(unix.SYS_CLOSE_RANGE, number(3), number(^uintptr(0)>>32), number(unix.CLOSE_RANGE_CLOEXEC))
	// The spawner's thread is gone if the worker died before the parent-death signal was set.
	todo.must("parent", "", unix.SYS_FACCESSAT, number(p.spawner.thread.Fd()), todo.text("stat"), number(unix.F_OK))
	p.leaving = todo.steps
	return todo.err
}

// identity lets the child be in its user namespace who it was outside.
func (p *plan) identity() {
	uid, gid := os.Geteuid(), os.Getegid()
	// Without this the kernel lets nobody write the map of groups.
	p.write(proc+"/self/setgroups", []byte("deny"))
	p.write(proc+"/self/gid_map", fmt.Appendf(nil, "%d %d 1\n", gid, gid))
	p.write(proc+"/self/uid_map", fmt.Appendf(nil, "%d %d 1\n", uid, uid))
}

// cloneFlags are the namespaces of a child.
func (w way) cloneFlags() uintptr {
	if w.user {
		return unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
	return unix.CLONE_NEWPID | unix.CLONE_NEWNS
}

// interrupt: as first process of its namespace the program gets no signal it has no handler for; Codex has one.
func (s *settler) interrupt() error { return unlessDone(s.process.Signal(syscall.SIGINT)) }

func (s *settler) kill() error { return unlessDone(s.process.Kill()) }

// wait: the kernel lets the first process of a PID namespace go only after every other one is dead and reaped.
func (s *settler) wait() Exit {
	state, err := s.process.Wait()
	if err != nil {
		return Exit{Code: -1, Err: err}
	}
	return exitOf(state.Sys().(syscall.WaitStatus))
}

// unlessDone is the error of a signal; that its receiver is gone is none.
func unlessDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
