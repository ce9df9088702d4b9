// Package statedir is the worker's directory on its own disk: what must survive a
// restart, kept from two workers at once by a lock of the operating system, which
// goes with the process however it ends.
package statedir

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"telecodex.dev/services/internal/diskfile"
)

// LockedError says that another worker uses the directory.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("state directory %s is used by another worker: stop it, or choose another directory", e.Path)
}

// Dir is a locked state directory.
type Dir struct {
	path     string
	workerID string
	lock     *diskfile.Lock
}

// Open creates the directory and its parts where missing (mode 0700) and locks
// it, for which it waits up to a second. Close unlocks. Errors: *LockedError.
func Open(path string) (*Dir, error) { return openWithin(path, diskfile.Patience) }

func openWithin(path string, patience time.Duration) (*Dir, error) {
	d := &Dir{path: path}
	if err := os.MkdirAll(d.Private(), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := diskfile.LockWithin(d.lockFile(), patience)
	switch {
	case errors.Is(err, diskfile.ErrLocked):
		return nil, &LockedError{Path: path}
	case err != nil:
		return nil, fmt.Errorf("state directory: %w", err)
	}
	d.lock = lock
	if d.workerID, err = workerID(filepath.Join(d.Private(), "worker_id")); err != nil {
		return nil, errors.Join(fmt.Errorf("state directory: %w", err), lock.Unlock())
	}
	return d, nil
}

// InUse reports whether a live worker uses the directory. It changes nothing.
func InUse(path string) (bool, error) {
	used, err := diskfile.Locked((&Dir{path: path}).lockFile())
	if err != nil {
		err = fmt.Errorf("state directory: %w", err)
	}
	return used, err
}

// Peek is the directory of a worker that uses it meanwhile: for who reads it only.
// Close does nothing to it. Errors: fs.ErrNotExist when no worker ever used it.
func Peek(path string) (*Dir, error) {
	d := &Dir{path: path}
	content, err := os.ReadFile(filepath.Join(d.Private(), "worker_id"))
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	d.workerID = strings.TrimSpace(string(content))
	return d, nil
}

// workerID reads the worker's id, or makes one that stays: it is on the disk before
// anyone learns of it.
func workerID(path string) (string, error) {
	content, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(content)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := uuid.NewString()
	return id, diskfile.Replace(path, []byte(id+"\n"))
}

// CountStart notes that the worker is started, and returns how often it was. A
// count that cannot be read begins anew.
func (d *Dir) CountStart() (int, error) {
	path := filepath.Join(d.Private(), "starts")
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("state directory: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(content)), 10, 31)
	if err != nil {
		n = 0
	}
	n = min(n+1, math.MaxInt32)
	if err := diskfile.Replace(path, fmt.Appendf(nil, "%d\n", n)); err != nil {
		return 0, fmt.Errorf("state directory: %w", err)
	}
	return int(n), nil
}

// Close unlocks the directory.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Unlock()
}

// WorkerID is the worker's id: random, and stable over restarts.
func (d *Dir) WorkerID() string { return d.workerID }

// Private is what Codex must not see.
func (d *Dir) Private() string { return filepath.Join(d.path, "private") }

func (d *Dir) lockFile() string { return filepath.Join(d.Private(), "lock") }

// Journal is the path of the turn journal.
func (d *Dir) Journal() string { return filepath.Join(d.Private(), "journal.db") }

// Children is the directory where running processes are noted.
func (d *Dir) Children() string { return filepath.Join(d.Private(), "children") }

// Home is Codex's HOME: empty, so that nothing of the worker's own is in it.
func (d *Dir) Home() string { return filepath.Join(d.path, "home") }
