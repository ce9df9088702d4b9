package proctree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrClosed is what Start refuses with once the Supervisor has been closed.
var ErrClosed = errors.New("supervisor is closed")

// SpawnKind says why a child could not be started.
type SpawnKind int

const (
	// Refused: the system would not have it now: out of processes or memory, a working directory that is not there, arguments
	// too long, or containment that cannot be set up.
	Refused SpawnKind = iota
	// NotFound: there is no such program.
	NotFound
	// NotExecutable: the file exists, but cannot be executed: no permission, a directory, another machine's format, or
	// a missing interpreter.
	NotExecutable
)

// String is the kind in words, as it stands in SpawnError's message.
func (k SpawnKind) String() string {
	switch k {
	case NotFound:
		return "program not found"
	case NotExecutable:
		return "program not executable"
	default:
		return "spawn refused"
	}
}

// SpawnError is the error of Start. Its text holds the program's path and the system's reason, never arguments or environment.
type SpawnError struct {
	Kind SpawnKind
	Err  error
}

func (e *SpawnError) Error() string { return fmt.Sprintf("%v: %v", e.Kind, e.Err) }
func (e *SpawnError) Unwrap() error { return e.Err }

// resolve turns Spec.Path into an absolute path of a file that looks executable. A bare name is looked up in the worker's own PATH.
func resolve(path string) (string, error) {
	found, err := exec.LookPath(path)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", &SpawnError{Kind: NotFound, Err: err}
	default:
		return "", &SpawnError{Kind: NotExecutable, Err: err}
	}
}

// checkDir tells a missing working directory apart from a missing program: execve reports ENOENT for both.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "chdir", Path: dir, Err: errors.New("not a directory")}
	}
	if err != nil {
		return &SpawnError{Kind: Refused, Err: fmt.Errorf("working directory: %w", err)}
	}
	return nil
}
