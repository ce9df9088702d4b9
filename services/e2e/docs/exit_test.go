package docs

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// What the runbook says of Ctrl+C is what the programs do.
func TestCtrlCEndsTheProgramsAsTheRunbookSays(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: no signal can be sent to a process there")
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "RUNBOOK.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile("130 when Ctrl\\+C ended `gateway` or\\s+`telecodex`. For `orchestrator` Ctrl\\+C .* it ends with 0")
	if !said.Match(text) {
		t.Error("the runbook does not say how Ctrl+C ends each program")
	}
	dir := t.TempDir()
	programs, err := harness.Build(t.Context(), filepath.Join(dir, "bin"), "gateway", "orchestrator", "telecodex")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	for program, status := range map[string]int{"gateway": 130, "telecodex": 130, "orchestrator": 0} {
		t.Run(program, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), programs.Path(program))
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + sim.URL,
				"CHANNEL_ALLOWED_CHAT_IDS=1", "CHANNEL_LISTEN_ADDR=off", "CHANNEL_METRICS_ADDR=off", "ORCHESTRATOR_METRICS_ADDR=off",
				"ORCHESTRATOR_LISTEN_ADDR=127.0.0.1:0"}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			interrupted := false
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				if !interrupted && strings.Contains(lines.Text(), `"serving"`) {
					interrupted = true
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			_ = cmd.Wait() // its status is what counts
			if got := cmd.ProcessState.ExitCode(); !interrupted || got != status {
				t.Errorf("status %d (interrupted: %v), want %d", got, interrupted, status)
			}
		})
	}
}
