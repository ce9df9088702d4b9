//go:build unix

package proctree

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func exitOf(status syscall.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{Code: -1, Signal: unix.SignalName(status.Signal())}
	}
	return Exit{Code: status.ExitStatus()}
}

// execKind reads the errno of execve. For a missing interpreter it is the same as for a missing program.
func execKind(path string, errno syscall.Errno) SpawnKind {
	switch errno {
	case unix.ENOENT, unix.ENOTDIR:
		if _, err := os.Stat(path); err == nil {
			return NotExecutable
		}
		return NotFound
	case unix.EACCES, unix.ENOEXEC, unix.EISDIR, unix.ELOOP:
		return NotExecutable
	default:
		return Refused
	}
}
