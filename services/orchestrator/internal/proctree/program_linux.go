package proctree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// selfExecutable is this program even after its file has been replaced by an upgrade.
	selfExecutable = "/proc/self/exe"
	// smallProgram is the file name of a program that only calls Main: to execute it takes a fraction of what this program takes.
	smallProgram = "telecodex-contain"
)

// shimPrograms are the programs a shim can be started from, best first.
func shimPrograms() []string {
	self, err := os.Executable()
	if err != nil {
		return []string{selfExecutable}
	}
	return []string{filepath.Join(filepath.Dir(self), smallProgram), selfExecutable}
}

// choose takes the first of programs with which the chosen way works. It stays open, so that an upgrade of the files while the
// worker runs mixes no versions.
func (p *platform) choose(programs []string) (tried error) {
	for _, path := range programs {
		// O_PATH: to execute a program one need not be allowed to read it.
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == nil {
			p.program = os.NewFile(uintptr(fd), path)
			if err = p.probe(); err == nil {
				return nil
			}
			_ = p.program.Close()
			p.program = nil
		}
		tried = errors.Join(tried, &fs.PathError{Op: "contain", Path: path, Err: err})
	}
	return tried
}
