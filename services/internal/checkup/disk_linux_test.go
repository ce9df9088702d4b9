package checkup

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestADiskThatDoesNotLastIsToldOf(t *testing.T) {
	const memory = "/dev/shm"
	var stat unix.Statfs_t
	if err := unix.Statfs(memory, &stat); err != nil || stat.Type != unix.TMPFS_MAGIC {
		t.Skip("this machine has no file system in memory at /dev/shm")
	}
	dir, err := os.MkdirTemp(memory, "telecodex-test-")
	if err != nil {
		t.Skipf("/dev/shm cannot be written: %v", err)
	}
	defer os.RemoveAll(dir)
	found := Directory("store", dir, false, "move it")
	if f := found[0]; f.Verdict != Warn || !strings.Contains(f.Detail, "in memory") || !strings.Contains(f.Mend, "move it") {
		t.Errorf("%+v", f)
	}
}
