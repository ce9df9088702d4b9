package smoke

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
)

// sabotageVariable names the cycle whose injection a sabotaged program takes back.
const sabotageVariable = "SMOKE_SABOTAGE"

// The sabotage is in no program but the one that this test builds. Whatever it does,
// nothing leaves the machine: without the dead proxy there is the simulator.
var (
	sabotageChanges = []harness.Change{{File: "simulated.go", Old: "\tinject(env, c)\n", New: "\tinject(env, c)\n\tsabotage(env, c.ID, sim.URL)\n"}}
	sabotageFiles   = map[string]string{"sabotage.go": `package smoke

import (
	"os"
	"path/filepath"
	"strconv"
)

func sabotage(env environment, cycle, telegram string) {
	if os.Getenv("` + sabotageVariable + `") != cycle {
		return
	}
	switch cycle {
	case "S1-happy-path": // Codex ends well and has said nothing
		env["ORCHESTRATOR_CODEX_ENV"] = "FAKE_CODEX_SCENARIO=exit0_empty"
	case "S2-telegram-transient-fetch":
		delete(env, "HTTPS_PROXY")
		env["CHANNEL_TELEGRAM_API_URL"] = telegram
	case "S3-codex-timeout":
		env["CHANNEL_CODEX_TIMEOUT_S"] = "20"
	case "S3-codex-exec-fail": // where the scripted one is
		env["PATH"] = filepath.Dir(env["ORCHESTRATOR_CODEX_HOME"])
	case "S4-allowlist-drop":
		env["CHANNEL_ALLOWED_CHAT_IDS"] = strconv.Itoa(simulatedChat)
	}
}
`}
)

// buildSabotaged builds a telecodex whose injections can be taken back.
func buildSabotaged(ctx context.Context, dir string) (program string, err error) {
	flag, err := harness.Overlay(dir, filepath.Join("..", "..", "telecodex", "internal", "smoke"), sabotageChanges, sabotageFiles)
	if err != nil {
		return "", err
	}
	programs, err := built.Rebuilt(ctx, filepath.Join(dir, "programs"), []string{flag}, "telecodex")
	return programs.Path("telecodex"), err
}

const rollback = `
Roll back to the echo mode:
  export CHANNEL_LIVE_MODE="false"
  export CHANNEL_ORCHESTRATOR_MODE="default"
  export CHANNEL_ALLOWED_CHAT_IDS=""
  bin/telecodex --once
`

// With any one injection sabotaged the program says NO-GO, by which criterion, and
// how to go back; with none of them it says GO.
func TestAnySabotagedInjectionIsNoGo(t *testing.T) {
	t.Parallel()
	program, err := buildSabotaged(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ cycle, scenario, criterion string }{
		{"", "", ""},
		{"S1-happy-path", "S1", "1: Happy path cannot produce a successful round trip after controlled retries."},
		{"S2-telegram-transient-fetch", "S2", "2: Telegram transient failure is not classified as structured retryable adapter fetch failure."},
		{"S3-codex-timeout", "S3", "3: Codex timeout/failure causes unstructured crash or missing diagnostics."},
		{"S3-codex-exec-fail", "S3", "3: Codex timeout/failure causes unstructured crash or missing diagnostics."},
		{"S4-allowlist-drop", "S4", "4: Allowlist drop sends outbound message or increments error_count unexpectedly."},
	} {
		t.Run("without "+tt.cycle, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.program = program
			p := b.start([]string{"smoke", "--simulated", "--limit-s", "100"}, sabotageVariable+"="+tt.cycle)
			status, out := b.ends(p), p.Stdout()
			for _, scenario := range []string{"S1", "S2", "S3", "S4"} {
				result := map[bool]string{true: "FAIL", false: "PASS"}[scenario == tt.scenario]
				if !strings.Contains(out, "\n"+result+"      "+scenario+" ") {
					t.Errorf("%s is not %s", scenario, result)
				}
			}
			want, wanted := 0, "\nGO: "
			if tt.cycle != "" {
				want, wanted = 1, "\nNO-GO: failed: "+tt.scenario+"\n  criterion "+tt.criterion+rollback
			}
			if status != want || !strings.Contains(out, wanted) || strings.Contains(out, rollback) != (want == 1) {
				t.Errorf("status %d, want %d and %q", status, want, wanted)
			}
			if document := b.evidence()["evidence.md"]; tt.cycle != "" && (!strings.Contains(document, "\nNO-GO criterion "+tt.criterion+"\n\nRoll back:\n") ||
				!strings.Contains(document, "\n## "+tt.scenario+": FAIL\n")) {
				t.Errorf("the document:\n%s", document)
			}
			if t.Failed() {
				t.Logf("it printed\n%s%s", out, p.Stderr())
			}
		})
	}
}
