package sqldb

import (
	"errors"
	"os"
	"path/filepath"

	"telecodex.dev/services/internal/diskfile"
)

// ErrLocked says that another holder, in this process or another, has the lock.
var ErrLocked = diskfile.ErrLocked

// Lock is an exclusive lock on a file. The system takes it back when its holder
// dies, however that happens, which no file with a process id in it can say.
type Lock struct{ file *os.File }

// TryLock takes the lock on the file at path (made with mode 0600, its directory
// with 0700) or fails with ErrLocked at once. Other errors are *Error.
func TryLock(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &Error{Op: "create directory", Kind: kindOfFile(err), Err: err}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &Error{Op: "open", Kind: kindOfFile(err), Err: err}
	}
	if err := diskfile.Lock(file); err != nil {
		if !errors.Is(err, ErrLocked) {
			err = &Error{Op: "lock", Kind: kindOfFile(err), Err: err}
		}
		return nil, errors.Join(err, file.Close())
	}
	return &Lock{file: file}, nil
}

// Locked reports whether somebody holds the lock on the file at path. It leaves
// nothing behind, and holds the lock itself for no longer than it takes to ask.
func Locked(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, &Error{Op: "open", Kind: kindOfFile(err), Err: err}
	}
	defer file.Close()
	err = diskfile.Lock(file)
	if err != nil && !errors.Is(err, ErrLocked) {
		return false, &Error{Op: "lock", Kind: kindOfFile(err), Err: err}
	}
	return err != nil, nil
}

// Unlock gives the lock back. The file stays: removing it could take it from
// under a holder who has opened it already.
func (l *Lock) Unlock() error { return l.file.Close() }
