package smoke_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/telecodex/internal/smoke"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

func TestSimulatedProtocolIsGo(t *testing.T) {
	r := newTrial(t)
	if status := r.run(t); status != 0 {
		t.Errorf("status %d", status)
	}
	r.shows(t, "PASS      S1 happy path (", "PASS      S2 telegram transient (", "PASS      S3 codex timeout/failure (",
		"PASS      S4 allowlist drop (", "GO: ", "evidence: "+r.Out)
	if strings.Contains(r.out.String(), "\x1b") {
		t.Error("what is not a terminal is written to as if it were")
	}
	files := r.evidence(t)
	var want []string
	for _, c := range protocol.Cycles() {
		want = append(want, c.ID+".json", c.ID+".redacted.json")
	}
	want = append(want, "evidence.md")
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("evidence %q, want %q", got, want)
	}
	for name, text := range files {
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is not JSON: %s", name, text)
		}
		if name == "evidence.md" || strings.HasSuffix(name, ".redacted.json") {
			for _, secret := range []string{"7000000001", "AASimulatedToken", "7100000042", "7100000099", "Simulated canary"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows %s", name, secret)
				}
			}
		}
	}
	if strings.Contains(files["S4-allowlist-drop.json"], "7100000042") == strings.Contains(files["S4-allowlist-drop.redacted.json"], "7100000042") {
		t.Error("the report and the redacted one do not differ in the chat's id")
	}
	for _, column := range []string{"| S1 happy path | `bin/telecodex --once` | `2", "| `HTTPS_PROXY=http://127.0.0.1:9 bin/telecodex --once` |",
		"| `sent_count=1,error_count=0,dropped_count=0` |", "| `code=codex-timeout,send_total=0` |", "S4-allowlist-drop.redacted.json` | `PASS` |"} {
		if !strings.Contains(files["evidence.md"], column) {
			t.Errorf("the table lacks %q:\n%s", column, files["evidence.md"])
		}
	}
}

func TestVerdictAsJSON(t *testing.T) {
	r := newTrial(t)
	r.JSON, r.Scenarios = true, []string{"S2", "S4"}
	if status := r.run(t); status != smoke.ExitConditional {
		t.Errorf("status %d", status)
	}
	var verdict struct {
		Decision, Mode string
		Scenarios      []struct {
			Scenario, Result string
			Cycles           []struct {
				ID     string
				Checks []protocol.Check
			}
		}
	}
	if err := json.Unmarshal([]byte(r.out.String()), &verdict); err != nil {
		t.Fatalf("%v in %s", err, r.out.String())
	}
	if verdict.Decision != "CONDITIONAL" || verdict.Mode != "simulated" || len(verdict.Scenarios) != 4 {
		t.Errorf("verdict %+v", verdict)
	}
	for i, want := range []string{"UNTESTED", "PASS", "UNTESTED", "PASS"} {
		s := verdict.Scenarios[i]
		if s.Result != want || len(s.Cycles) == 0 {
			t.Errorf("%s is %s, want %s", s.Scenario, s.Result, want)
		}
		for _, c := range s.Cycles {
			for _, check := range c.Checks {
				if string(check.Result) != want {
					t.Errorf("%s: %+v", c.ID, check)
				}
			}
		}
	}
	if !strings.Contains(r.log.String(), "CONDITIONAL: untested: S1, S3") {
		t.Errorf("progress:\n%s", r.log.String())
	}
}

// Each injection is taken back, or where there is none, something is broken: the
// protocol must notice.
func TestSabotagedInjectionIsNoGo(t *testing.T) {
	// Telegram as it is without a dead proxy.
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{Token: "7000000001:AASimulatedTokenOfTheSmokeProtocol0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	codexDir := func(env map[string]string) string { return filepath.Dir(env["ORCHESTRATOR_CODEX_HOME"]) }
	for _, tt := range []struct {
		cycle, scenario, criterion string
		tamper                     func(env map[string]string)
	}{
		{"S1-happy-path", "S1", "1: Happy path", func(env map[string]string) { env["PATH"] = "/nonexistent" }},
		{"S2-telegram-transient-fetch", "S2", "2: Telegram transient", func(env map[string]string) {
			delete(env, "HTTPS_PROXY")
			env["CHANNEL_TELEGRAM_API_URL"] = sim.URL
		}},
		{"S3-codex-timeout", "S3", "3: Codex timeout", func(env map[string]string) { env["CHANNEL_CODEX_TIMEOUT_S"] = "20" }},
		{"S3-codex-exec-fail", "S3", "3: Codex timeout", func(env map[string]string) { env["PATH"] = codexDir(env) }},
		{"S4-allowlist-drop", "S4", "4: Allowlist drop", func(env map[string]string) { env["CHANNEL_ALLOWED_CHAT_IDS"] = "7100000042" }},
	} {
		t.Run(tt.cycle, func(t *testing.T) {
			r := newTrial(t)
			r.Scenarios = []string{tt.scenario}
			if tt.scenario == "S4" { // one is enough, whatever the others come to
				r.Scenarios = protocol.Scenarios()
				defer r.shows(t, "PASS      S1", "PASS      S2", "PASS      S3")
			}
			r.SabotageWith(func(cycle string, env map[string]string) {
				if cycle == tt.cycle {
					tt.tamper(env)
				}
			})
			if status := r.run(t); status != 1 {
				t.Errorf("status %d", status)
			}
			r.shows(t, "FAIL      "+protocol.Title(tt.scenario), "NO-GO: failed: "+tt.scenario+"\n", "  criterion "+tt.criterion,
				`  export CHANNEL_ORCHESTRATOR_MODE="default"`)
			if document := r.evidence(t)["evidence.md"]; !strings.Contains(document, "NO-GO criterion "+tt.criterion) ||
				!strings.Contains(document, `export CHANNEL_LIVE_MODE="false"`) {
				t.Errorf("the document:\n%s", document)
			}
		})
	}
}

// Whatever the operator's environment says, a simulated cycle knows nothing of
// the real bot, and the one that is aimed at Telegram has no way past the dead
// proxy.
func TestNothingOfTheOperatorsReachesASimulatedCycle(t *testing.T) {
	r := newTrial(t)
	r.Environ = append(r.Environ, "CHANNEL_TOKEN="+liveToken, "CHANNEL_TOKEN_FILE=/none", "CHANNEL_HEARTBEAT_URL=https://example.org", "NO_PROXY=*", "no_proxy=*",
		"https_proxy=http://example.org", "HTTP_PROXY=http://example.org", "ALL_PROXY=socks5://example.org", "CODEX_API_KEY=sk-secret", "ORCHESTRATOR_CODEX_ENV=X=y")
	cycles := map[string]map[string]string{}
	r.SabotageWith(func(cycle string, env map[string]string) { cycles[cycle] = maps.Clone(env) })
	if status := r.run(t); status != 0 {
		t.Errorf("status %d\n%s", status, r.out.String())
	}
	for cycle, env := range cycles {
		for name, value := range env {
			proxy := strings.HasSuffix(strings.ToUpper(name), "_PROXY")
			dead := cycle == "S2-telegram-transient-fetch" && name == "HTTPS_PROXY" && value == "http://127.0.0.1:9"
			if proxy && !dead || strings.Contains(value, "example.org") || strings.Contains(value, liveToken) || name == "CHANNEL_TOKEN_FILE" ||
				name == "CODEX_API_KEY" || name == "ORCHESTRATOR_CODEX_ENV" {
				t.Errorf("%s has %s=%s", cycle, name, value)
			}
		}
		if url := env["CHANNEL_TELEGRAM_API_URL"]; (cycle == "S2-telegram-transient-fetch") != (url == "https://api.telegram.org") ||
			!strings.HasPrefix(url, "http://127.0.0.1:") && env["HTTPS_PROXY"] == "" {
			t.Errorf("%s goes to %s", cycle, url)
		}
	}
	if len(cycles) != len(protocol.Cycles()) {
		t.Errorf("%d cycles", len(cycles))
	}
}

// All passed, but there is nothing to show for it.
func TestWithoutEvidenceItIsNotGo(t *testing.T) {
	r := newTrial(t)
	r.SabotageWith(func(cycle string, _ map[string]string) {
		if cycle == "S4-allowlist-drop" {
			if err := os.RemoveAll(r.Out); err != nil {
				t.Error(err)
			}
		}
	})
	if status := r.run(t); status != smoke.ExitConditional {
		t.Errorf("status %d", status)
	}
	r.shows(t, "PASS      S4", "CONDITIONAL: without redacted evidence: S1, S2, S3, S4; ")
}

// What was written and is lost before the decision is not captured.
func TestEvidenceThatIsLostIsNotCaptured(t *testing.T) {
	r := newTrial(t)
	r.SabotageWith(func(cycle string, _ map[string]string) {
		if cycle != "S4-allowlist-drop" {
			return
		}
		paths, err := filepath.Glob(filepath.Join(r.Out, "*", "S1-happy-path.redacted.json"))
		if err != nil || len(paths) != 1 {
			t.Errorf("%q, %v", paths, err)
			return
		}
		if err := os.Remove(paths[0]); err != nil {
			t.Error(err)
		}
	})
	if status := r.run(t); status != smoke.ExitConditional {
		t.Errorf("status %d", status)
	}
	r.shows(t, "PASS      S1", "  S1-happy-path, try 1, evidence: ", "CONDITIONAL: without redacted evidence: S1; ")
	if document := r.evidence(t)["evidence.md"]; document == "" || strings.Contains(document, "S1-happy-path.redacted.json") {
		t.Errorf("it names evidence that is not there:\n%s", document)
	}
}

// A program that is no telecodex crashes, or says nothing that can be judged.
func TestAnotherProgramIsNoGo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the programs are shell scripts")
	}
	for name, script := range map[string]string{"crashes": "echo panic >&2; kill -SEGV $$", "says nothing": "", "says something else": "echo hello"} {
		t.Run(name, func(t *testing.T) {
			r := newTrial(t)
			r.Program = filepath.Join(r.people, "telecodex")
			if err := os.WriteFile(r.Program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if status := r.run(t); status != 1 {
				t.Errorf("status %d", status)
			}
			r.shows(t, "NO-GO: failed: S1, S2, S3, S4\n", "  criterion 1", "  criterion 2", "  criterion 3", "  criterion 4", "  criterion 5")
			if files := r.evidence(t); files["S1-happy-path.redacted.json"] != "" {
				t.Error("there is redacted evidence of nothing")
			}
		})
	}
}

func TestAMissingProgramIsAnError(t *testing.T) {
	r := newTrial(t)
	r.Program = filepath.Join(r.people, "none")
	if _, err := smoke.Run(t.Context(), r.Options); err == nil {
		t.Error("no error")
	}
	r.leavesNothing(t)
}

func TestAnInterruptionEndsTheProgramToo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: there the program is ended by force, and its Codex a moment later")
	}
	r := newTrial(t)
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	sim := make(chan string, 1)
	r.SabotageWith(func(cycle string, env map[string]string) {
		env["ORCHESTRATOR_CODEX_ENV"] = "FAKE_CODEX_SCENARIO=hang"
		sim <- filepath.Join(env["ORCHESTRATOR_CODEX_HOME"], "sessions")
	})
	go func() {
		defer interrupt()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for threads := <-sim; ctx.Err() == nil; <-tick.C { // until Codex runs
			if list, _ := os.ReadDir(threads); len(list) > 0 {
				return
			}
		}
	}()
	status, err := smoke.Run(ctx, r.Options)
	if status != 130 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	r.shows(t, "interrupted; ")
	r.leavesNothing(t)
}

// The preflight says what the protocol's own lines print.
func TestPreflightIsTheProtocols(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("this system has no sh")
	}
	const lines = `
command -v codex >/dev/null && echo "codex=present" || echo "codex=missing"
test -n "${CHANNEL_TOKEN:-}" && echo "CHANNEL_TOKEN=set" || echo "CHANNEL_TOKEN=missing"
test -n "${CANARY_CHAT_ID:-}" && echo "CANARY_CHAT_ID=set" || echo "CANARY_CHAT_ID=missing"
echo "CHANNEL_TOKEN=${CHANNEL_TOKEN:+<REDACTED>}"
echo "CANARY_CHAT_ID=${CANARY_CHAT_ID:-<missing>}"`
	for _, environ := range [][]string{nil, {"CHANNEL_TOKEN=secret", "CANARY_CHAT_ID=5"}} {
		command := exec.Command(sh, "-c", lines)
		command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
		want, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(smoke.Preflight(environ), "\n") + "\n"; got != strings.ReplaceAll(string(want), "\r", "") {
			t.Errorf("printed\n%swant\n%s", got, want)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for bin, want := range map[string]string{program: "codex=present", "nobody-has-it": "codex=missing"} {
		if got := smoke.Preflight([]string{"ORCHESTRATOR_CODEX_BIN=" + bin})[0]; got != want {
			t.Errorf("%s: %s, want %s", bin, got, want)
		}
	}
}
