package orchestrator

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"telecodex.dev/services/internal/diskfile"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// staged is the staging of a worker with one workspace, "kept", that holds a file.
func staged(t *testing.T) (s *staging, again func() *staging) {
	t.Helper()
	dir, err := statedir.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	root := filepath.Join(dir.Path(), workspaces)
	fill(t, filepath.Join(root, "kept"), "old")
	again = func() *staging {
		s, err := stage(dir, root, diskfile.Patience)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return again(), again
}

// fill makes a workspace with one file in it.
func fill(t *testing.T, dir, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// wantRoot fails the test unless the workspaces are "kept" alone, with that content.
func wantRoot(t *testing.T, s *staging, content string) {
	t.Helper()
	entries, err := os.ReadDir(s.root)
	if err != nil || len(entries) != 1 {
		t.Errorf("beneath the workspaces: %v, %v", entries, err)
	}
	if got, err := os.ReadFile(filepath.Join(s.root, "kept", "file")); err != nil || string(got) != content {
		t.Errorf("the workspace has %q, %v; want %q", got, err, content)
	}
}

func TestAWorkspaceThatCannotBeReplacedGoesBack(t *testing.T) {
	t.Parallel()
	s, _ := staged(t)
	gone := filepath.Join(s.dir, "somebody has removed it")
	if err := s.swap(gone, filepath.Join(s.root, "kept")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("swapped: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	wantRoot(t, s, "old")
}

func TestAWorkspaceTakesTheOldOnesPlace(t *testing.T) {
	t.Parallel()
	s, _ := staged(t)
	unpacked := filepath.Join(s.dir, "unpacked")
	fill(t, unpacked, "new")
	if err := errors.Join(s.swap(unpacked, filepath.Join(s.root, "kept")), s.close()); err != nil {
		t.Fatal(err)
	}
	wantRoot(t, s, "new")
}

// An import may be killed at any point: the next one, or the worker's next start,
// cleans up after it, and a workspace is never lost.
func TestWhatAKilledImportLeavesIsCleanedUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		killed func(t *testing.T, s *staging)
		want   string
	}{
		"while it unpacks": {func(t *testing.T, s *staging) { fill(t, filepath.Join(s.dir, "unpacked"), "half of") }, "old"},
		"between the renames": {func(t *testing.T, s *staging) {
			fill(t, filepath.Join(s.dir, "unpacked"), "new")
			if err := os.Rename(filepath.Join(s.root, "kept"), filepath.Join(s.aside(), "kept")); err != nil {
				t.Fatal(err)
			}
		}, "old"},
		"after them": {func(t *testing.T, s *staging) {
			unpacked := filepath.Join(s.dir, "unpacked")
			fill(t, unpacked, "new")
			if err := s.swap(unpacked, filepath.Join(s.root, "kept")); err != nil {
				t.Fatal(err)
			}
		}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, again := staged(t)
			tt.killed(t, s)
			if err := s.lock.Unlock(); err != nil { // which goes with the process
				t.Fatal(err)
			}
			if err := again().close(); err != nil {
				t.Fatal(err)
			}
			wantRoot(t, s, tt.want)
		})
	}
}

// A worker that starts while an import is at work leaves it alone.
func TestOneImportIsAtWorkAtATime(t *testing.T) {
	t.Parallel()
	dir, err := statedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	root := filepath.Join(dir.Path(), workspaces)
	first, err := stage(dir, root, diskfile.Patience)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(first.dir, "unpacked"), "half of")
	if _, err := stage(dir, root, 0); !errors.Is(err, errImporting) {
		t.Errorf("a second import: %v", err)
	}
	if _, err := os.Stat(filepath.Join(first.dir, "unpacked", "file")); err != nil {
		t.Error(err)
	}
	if err := first.close(); err != nil {
		t.Error(err)
	}
}
