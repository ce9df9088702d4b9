package orchestrator

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Codex makes what it likes in a workspace. To root modes mean nothing, so that the
// test's thread, which ends with it, goes on as somebody else there.
func TestWhatMayNotBeWrittenIsRemovedToo(t *testing.T) {
	const nobody = 65534
	parent := t.TempDir()
	dir := filepath.Join(parent, "staged")
	fill(t, filepath.Join(dir, "replaced", "kept", "module"), "of a cache")
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "module" {
			err = os.Chmod(path, 0o500)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		for _, path := range []string{filepath.Dir(parent), parent, dir, filepath.Join(dir, "replaced"), filepath.Join(dir, "replaced", "kept"),
			filepath.Join(dir, "replaced", "kept", "module"), filepath.Join(dir, "replaced", "kept", "module", "file")} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := remove(dir); err != nil {
		t.Errorf("remove: %v", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if err := remove(dir); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}
