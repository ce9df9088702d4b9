package statedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/orchestrator/internal/statedir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSecondWorkerIsRefusedUntilTheFirstIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var locked *statedir.LockedError
	if _, err := statedir.Open(path); !errors.As(err, &locked) || locked.Path != path {
		t.Fatalf("Open() = %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if second.WorkerID() != first.WorkerID() || second.WorkerID() == "" {
		t.Errorf("the worker id changed from %q to %q", first.WorkerID(), second.WorkerID())
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// What a killed worker was about to start may have the lock for a moment more.
func TestTheLockOfOneWhoIsAboutToGoIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		killed, err := statedir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan error)
		time.AfterFunc(900*time.Millisecond, func() { gone <- killed.Close() })
		next := make(chan error)
		go func() {
			dir, err := statedir.Open(path)
			if err == nil {
				err = dir.Close()
			}
			next <- err
		}()
		if err := errors.Join(<-gone, <-next); err != nil {
			t.Error(err)
		}
	})
}

func TestDirectoryIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes; the directory inherits its parent's access list
	}
	path := filepath.Join(t.TempDir(), "state")
	dir, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, path := range []string{path, dir.Private()} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestWorkerIDComesIntoPlaceComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	file := filepath.Join(path, "private", "worker_id")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	// What a power cut may have left: no content, and the beginning of another attempt.
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(file+".tmp", []byte("01234567-"), 0o600)); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	before, err := old.Stat() // of the path, Windows would ask later which file it is
	if err := errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	dir, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if content, err := os.ReadFile(file); err != nil || string(content) != dir.WorkerID()+"\n" {
		t.Errorf("got %q, %v", content, err)
	}
	if after, err := os.Stat(file); err != nil || os.SameFile(before, after) {
		t.Errorf("the file was written in place, %v", err)
	}
	if _, err := os.Stat(file + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is left: %v", err)
	}
}

func TestInUseAsksAndLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	ask := func(want bool) {
		t.Helper()
		if used, err := statedir.InUse(path); used != want || err != nil {
			t.Fatalf("InUse() = %v, %v", used, err)
		}
	}
	ask(false)
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a directory was left")
	}
	dir, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ask(true)
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	ask(false)
}
