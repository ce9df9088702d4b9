package sqldb

import (
	"errors"
	"os"
	"path/filepath"

	"telecodex.dev/services/internal/diskfile"
)

// ErrLocked says that another holder, in this process or another, has the lock.
var ErrLocked = diskfile.ErrLocked

// Lock is an exclusive lock on a file, which goes with its holder.
type Lock = diskfile.Lock

// TryLock takes the lock on the file at path (made with mode 0600, its directory
// with 0700) or fails with ErrLocked at once. Other errors are *Error.
func TryLock(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &Error{Op: "create directory", Kind: kindOfFile(err), Err: err}
	}
	lock, err := diskfile.TryLock(path)
	return lock, lockError(err)
}

// Locked reports whether somebody holds the lock on the file at path. It leaves
// nothing behind, and holds the lock itself for no longer than it takes to ask.
// Errors are *Error.
func Locked(path string) (bool, error) {
	held, err := diskfile.Locked(path)
	return held, lockError(err)
}

func lockError(err error) error {
	if err == nil || errors.Is(err, ErrLocked) {
		return err
	}
	return &Error{Op: "lock", Kind: kindOfFile(err), Err: err}
}
