//go:build unix

package proctree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// note is a file that names a running child to whoever comes after this worker. It is locked for as long as the worker lives: the
// lock, unlike a PID, cannot outlive its holder.
type note struct{ file *os.File }

// pendingPrefix begins the name of a note that is not locked yet.
const pendingPrefix = "."

// takeNote writes and locks dir/name.
func takeNote(dir, name, content string) (*note, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	pending := filepath.Join(dir, pendingPrefix+name)
	file, err := os.OpenFile(pending, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = file.WriteString(content); err == nil {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(pending, filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(pending)
		_ = file.Close()
		return nil, err
	}
	return &note{file: file}, nil
}

// remove deletes the note; the child is gone.
func (n *note) remove() {
	dir, name := filepath.Split(n.file.Name())
	_ = os.Remove(filepath.Join(dir, strings.TrimPrefix(name, pendingPrefix)))
	_ = n.file.Close()
}

// eachAbandoned shows visit every note in dir whose taker is gone, and deletes those it says are settled.
func eachAbandoned(dir string, visit func(name, content string) (settled bool)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), pendingPrefix) {
			continue
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			content, err := os.ReadFile(path)
			if err == nil && visit(entry.Name(), string(content)) {
				_ = os.Remove(path)
			}
		}
		_ = file.Close()
	}
	return nil
}
