package diskfile

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Lock takes the lock on an open file, which goes with it, or fails with ErrLocked at
// once.
func Lock(file *os.File) error {
	err := windows.LockFileEx(windows.Handle(file.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}
