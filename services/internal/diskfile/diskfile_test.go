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

func TestALockHasOneHolderAndGoesWithItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	first, second := open(), open()
	if err := diskfile.Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := diskfile.Lock(second); !errors.Is(err, diskfile.ErrLocked) {
		t.Errorf("the second holder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(diskfile.Lock(second), second.Close()); err != nil {
		t.Errorf("once it is free: %v", err)
	}
}
