//go:build unix

package diskfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// take uses flock and not fcntl: its locks belong to the open file, so that two
// holders in one process exclude each other too.
func take(file *os.File) error {
	err := flock(file, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func release(file *os.File) error { return flock(file, unix.LOCK_UN) }

func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
