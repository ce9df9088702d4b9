package harness_test

import (
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
