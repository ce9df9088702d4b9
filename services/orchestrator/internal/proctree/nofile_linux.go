package proctree

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inheritedFiles is the limit on open files that this process was started with, nil where it cannot be learned. Package os has
// raised it, for this process alone, and lets what it starts itself begin with the old one, which it keeps to itself. So a
// process is started that stops before its first instruction, looked at, and killed.
func (s *spawner) inheritedFiles() (limit *unix.Rlimit) {
	s.do(func() { // tracing is a thread's business
		process, err := os.StartProcess(selfExecutable, []string{probeName}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
		if err != nil {
			return // where nothing may be traced
		}
		limit = &unix.Rlimit{}
		if unix.Prlimit(process.Pid, unix.RLIMIT_NOFILE, nil, limit) != nil {
			limit = nil
		}
		_ = process.Kill()
		_, _ = process.Wait()
	})
	return limit
}
