package diskfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

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

func TestAFileThatCouldNotBeWrittenKeepsTheOldContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	// Somebody else's, and readable by all: it is not written into.
	leftover := filepath.Join(dir, "elsewhere")
	if err := errors.Join(diskfile.Replace(path, []byte("old")), os.WriteFile(leftover, []byte("of somebody else"), 0o644),
		os.Link(leftover, path+".tmp")); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("the source cannot be read")
	if err := diskfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, "half of")
		return errors.Join(err, failed)
	}); !errors.Is(err, failed) {
		t.Errorf("written: %v", err)
	}
	for name, want := range map[string]string{path: "old", leftover: "of somebody else"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestADirectoryInTheWayStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := diskfile.Replace(path, []byte("x")); err == nil {
		t.Error("written")
	}
	if info, err := os.Stat(path + ".tmp"); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
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

func TestTheLockOfOneWhoIsAboutToGoIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		holder, err := diskfile.TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := diskfile.LockWithin(path, diskfile.Patience); !errors.Is(err, diskfile.ErrLocked) {
			t.Errorf("while it is held: %v", err)
		}
		time.AfterFunc(diskfile.Patience-100*time.Millisecond, func() { _ = holder.Unlock() })
		lock, err := diskfile.LockWithin(path, diskfile.Patience)
		if err != nil {
			t.Fatalf("once it is free: %v", err)
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	})
}
