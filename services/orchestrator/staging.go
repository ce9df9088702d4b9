package orchestrator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"telecodex.dev/services/internal/diskfile"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// errImporting says that somebody else stages.
var errImporting = errors.New("another import is at work at this worker: nothing was changed; wait for its end")

// staging is where an import unpacks, beside the workspaces, and where what it
// replaces lies until the new one is in its place. One import at a time has it, as
// a lock says, which goes with the process: what is there without was left by one
// that was killed.
type staging struct {
	root string // the workspaces
	dir  string
	lock *diskfile.Lock
}

// stage takes hold of a worker's staging, which is empty then. Errors: errImporting.
func stage(dir *statedir.Dir, root string, patience time.Duration) (*staging, error) {
	lock, err := diskfile.LockWithin(filepath.Join(dir.Private(), "import.lock"), patience)
	switch {
	case errors.Is(err, diskfile.ErrLocked):
		return nil, errImporting
	case err != nil:
		return nil, fmt.Errorf("state directory: %w", err)
	}
	s := &staging{root: root, dir: filepath.Join(root, ".import-"+dir.WorkerID()), lock: lock}
	err = s.clear()
	for _, part := range []string{s.unpacked(), s.aside()} {
		if err == nil {
			err = os.MkdirAll(part, 0o700)
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return s, nil
}

// unstage cleans up after an import that was killed, if there was one. One that is at
// work is not waited for.
func unstage(dir *statedir.Dir, root string) error {
	s, err := stage(dir, root, 0)
	if errors.Is(err, errImporting) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.close()
}

func (s *staging) unpacked() string { return filepath.Join(s.dir, "unpacked") }

// aside holds the workspaces that are being replaced, by their names.
func (s *staging) aside() string { return filepath.Join(s.dir, "replaced") }

// nothing is the workspace of a session that has none; settle makes it.
func (s *staging) nothing() string { return filepath.Join(s.dir, "nothing") }

// settle brings what was unpacked to the disk, before anybody is told that it is
// there.
func (s *staging) settle() error {
	if err := os.MkdirAll(s.nothing(), 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return diskfile.SyncDir(path)
		case !entry.Type().IsRegular():
			return nil
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0) // Windows syncs only what it may write
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	})
}

// swap puts a directory of the staging in a workspace's place. What is there, if
// anything, goes aside; where it cannot be replaced it stays, or goes back.
func (s *staging) swap(from, workspace string) error {
	old := filepath.Join(s.aside(), filepath.Base(workspace))
	moved := os.Rename(workspace, old)
	if moved != nil && !errors.Is(moved, fs.ErrNotExist) {
		return moved
	}
	if err := os.Rename(from, workspace); err != nil {
		if moved == nil {
			err = errors.Join(err, os.Rename(old, workspace))
		}
		return err
	}
	return diskfile.SyncDir(s.root)
}

// clear removes what is staged. A workspace that has gone aside for one that never
// came goes back.
func (s *staging) clear() error {
	aside, err := os.ReadDir(s.aside())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range aside {
		workspace := filepath.Join(s.root, entry.Name())
		if _, err := os.Lstat(workspace); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := errors.Join(os.Rename(filepath.Join(s.aside(), entry.Name()), workspace), diskfile.SyncDir(s.root)); err != nil {
			return err
		}
	}
	return remove(s.dir)
}

// remove removes a tree, also of directories that their owner may not write: caches
// of Go modules are made of them.
func remove(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

func (s *staging) close() error { return errors.Join(s.clear(), s.lock.Unlock()) }
