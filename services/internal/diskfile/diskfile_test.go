package diskfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/diskfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReplaceLeavesTheNewContentAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "file")
	for _, content := range []string{"a longer one", "short"} {
		if err := diskfile.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := diskfile.Replace(filepath.Join(path, "beneath a file"), nil); err == nil {
		t.Error("a file beneath a file was written")
	}
}

func TestALockHasOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held := func(want bool) {
		t.Helper()
		if got, err := diskfile.Locked(path); got != want || err != nil {
			t.Fatalf("Locked() = %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("asking made the file: %v", err)
	}
	lock, err := diskfile.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := diskfile.TryLock(path); !errors.Is(err, diskfile.ErrLocked) {
		t.Errorf("the second holder: %v", err)
	}
	held(true)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	held(false)
	if lock, err = diskfile.TryLock(path); err != nil {
		t.Fatalf("once it is free: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}
