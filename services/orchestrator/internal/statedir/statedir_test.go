package statedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

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
