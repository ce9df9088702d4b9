package diskfile

import (
	"errors"
	"os"
	"time"
)

// ErrLocked says that another holder, in this process or another, has the lock.
var ErrLocked = errors.New("the lock is held")

// Lock is an exclusive lock on a file. The system takes it back when its holder
// dies, however that happens, which no file with a process id in it can say.
type Lock struct{ file *os.File }

// TryLock takes the lock on the file at path (made with mode 0600; its directory
// has to be there) or fails with ErrLocked at once.
func TryLock(path string) (*Lock, error) { return tryLock(path, os.O_CREATE) }

// Patience is for how long a lock may outlive its holder: one that is killed while it
// starts a child leaves the lock to it until the child is the program it is to be. A
// moment, on a busy machine a long one.
const Patience = time.Second

const lockPause = 20 * time.Millisecond

// LockWithin is TryLock with patience.
func LockWithin(path string, patience time.Duration) (*Lock, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(lockPause) {
		if lock, err := TryLock(path); !errors.Is(err, ErrLocked) || !time.Now().Before(deadline) {
			return lock, err
		}
	}
}

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
