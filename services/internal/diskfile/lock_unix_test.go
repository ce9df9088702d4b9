//go:build unix

package diskfile

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that is being started has every open file of its parent's until it is the
// program it is to be.
func TestALockThatIsGivenBackIsNotLeftToAChild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(lock.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if held, err := Locked(path); held || err != nil {
		t.Errorf("Locked() = %v, %v", held, err)
	}
	if err := unix.Close(child); err != nil {
		t.Fatal(err)
	}
}
