package harness_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuiltProgramRuns(t *testing.T) {
	programs, err := harness.Build(t.Context(), t.TempDir(), "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	process, err := harness.Start(harness.Command{Path: programs.Path("fakecodex"), Args: []string{"--version"}})
	if err != nil {
		t.Fatal(err)
	}
	if status := process.Status(); status != 0 || !strings.HasPrefix(process.Stdout(), "codex-cli ") {
		t.Errorf("status %d, stdout %q", status, process.Stdout())
	}
	if err := process.Stop(time.Second); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
}

func TestUnknownProgramIsRefused(t *testing.T) {
	if _, err := harness.Build(t.Context(), t.TempDir(), "nothing"); err == nil {
		t.Error("built")
	}
}

// Every test binary has the same programs, and none can spoil those of another.
func TestProgramsAreLinkedOnce(t *testing.T) {
	first, err := harness.Build(t.Context(), near(t), "fakecodex", "faketelegram")
	if err != nil {
		t.Fatal(err)
	}
	second, err := harness.Build(t.Context(), near(t), "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	if !sameFile(t, first.Path("fakecodex"), second.Path("fakecodex")) {
		t.Error("the program was built twice")
	}
	other, err := first.Rebuilt(t.Context(), near(t), []string{"-tags=crash"}, "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	if sameFile(t, first.Path("fakecodex"), other.Path("fakecodex")) || !sameFile(t, first.Path("faketelegram"), other.Path("faketelegram")) {
		t.Error("another program was built anew than the one")
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(first, second)
}

// near is a directory on the file system on which the programs are kept: only
// there two paths can be one file.
func near(t *testing.T) string {
	t.Helper()
	artifacts := filepath.Join("..", "..", "..", "..", "artifacts")
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(artifacts, "programs-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
