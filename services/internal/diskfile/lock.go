package diskfile

import (
	"errors"
	"os"
)

// ErrLocked says that another holder, in this process or another, has the lock.
var ErrLocked = errors.New("the lock is held")

// Lock is an exclusive lock on a file. The system takes it back when its holder
// dies, however that happens, which no file with a process id in it can say.
type Lock struct{ file *os.File }

// TryLock takes the lock on the file at path (made with mode 0600; its directory
// has to be there) or fails with ErrLocked at once.
func TryLock(path string) (*Lock, error) { return tryLock(path, os.O_CREATE) }

// Locked reports whether somebody holds the lock on the file at path. It leaves
// nothing behind, and holds the lock itself for no longer than it takes to ask.
func Locked(path string) (bool, error) {
	lock, err := tryLock(path, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case errors.Is(err, ErrLocked):
		return true, nil
	case err != nil:
		return false, err
	}
	return false, lock.Unlock()
}

func tryLock(path string, flag int) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Lock{file: file}, nil
}

// Unlock gives the lock back. Closing the file would leave it to a child that is
// being started meanwhile, until that is the program it is to be. The file stays:
// removing it could take it from under a holder who has opened it already.
func (l *Lock) Unlock() error { return errors.Join(release(l.file), l.file.Close()) }
