//go:build unix

package diskfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Lock takes the lock on an open file, which goes with it, or fails with ErrLocked at
// once. It uses flock and not fcntl: its locks belong to the open file, so that
// two holders in one process exclude each other too.
func Lock(file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		}
		return err
	}
}
