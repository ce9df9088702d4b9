package docs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// smokeDocument is one session of one shell: its lines build on each other.
const smokeDocument = "docs/SMOKE.md"

// The protocol's line that shows the signals of a report, and the one that makes
// a report.
const (
	showSignals = `jq '{status,reason,fetched_count,sent_count,acked_count,error_count,dropped_count,errors,error_details,telemetry}' "${LOG_DIR}/${SCENARIO_ID}.json"`
	runCycle    = `bin/telecodex --once | tee "${LOG_DIR}/${SCENARIO_ID}.json"`
)

// smokeLine is a line of the document.
type smokeLine struct {
	line  string
	shows string // what its output must match
	// messages is how often somebody writes to the bot: before the line, or, when
	// it asks for messages, whenever it does.
	messages int
}

func smokeLines() []smokeLine {
	// The signals are looked at in sorted order, without white space.
	in := func(parts ...string) string { return regexp.QuoteMeta(parts[0]) + ".*" + strings.Join(parts[1:], ".*") }
	failed := func(code string) string {
		return in(`"dropped_count":0,"error_count":1,"error_details":[{"category":"error","code":"`+code+`"`, `"layer":"orchestrator","operation":"handle_message"`,
			`"retryable":true,"source":"orchestrator.diagnostics"`, `"fetched_count":1,"reason":"completed-with-errors","sent_count":0,"status":"ok"`, `"send_total":0`)
	}
	return []smokeLine{
		{line: "bin/telecodex smoke --simulated", shows: `(?s)(\nPASS [^\n]*){4}\n\nGO: `},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 bin/telecodex smoke --live", shows: `(?s)(PASS .*){4}\n\nGO: `, messages: 4},
		{line: "bin/telecodex --version", shows: `^telecodex `},
		{line: `command -v codex >/dev/null && echo "codex=present" || echo "codex=missing"`, shows: `^codex=present\n$`},
		{line: `export CANARY_CHAT_ID="123456789"`},
		{line: ". deploy/smoke.env.example"},
		{line: `export CHANNEL_TOKEN="$(cat token.txt)"`},
		{line: `test -n "${CHANNEL_TOKEN:-}" && echo "CHANNEL_TOKEN=set" || echo "CHANNEL_TOKEN=missing"`, shows: `^CHANNEL_TOKEN=set\n$`},
		{line: `test -n "${CANARY_CHAT_ID:-}" && echo "CANARY_CHAT_ID=set" || echo "CANARY_CHAT_ID=missing"`, shows: `^CANARY_CHAT_ID=set\n$`},
		{line: `echo "CHANNEL_TOKEN=${CHANNEL_TOKEN:+<REDACTED>}"`, shows: `^CHANNEL_TOKEN=<REDACTED>\n$`},
		{line: `echo "CANARY_CHAT_ID=${CANARY_CHAT_ID:-<missing>}"`, shows: `^CANARY_CHAT_ID=123456789\n$`},
		{line: "umask 077"},
		{line: `LOG_DIR="artifacts/test-logs/tg-live-e2-$(date -u +%Y%m%d)/tg-live-e2-$(date -u +%Y%m%dT%H%M%SZ)"`},
		{line: `mkdir -p "${LOG_DIR}"`},

		{line: `SCENARIO_ID="S1-happy-path"`},
		{line: runCycle, shows: `"status":"ok"`, messages: 1},
		{line: showSignals, shows: in(`{"acked_count":1,"dropped_count":0,"error_count":0,"error_details":[],"errors":[],"fetched_count":1,"reason":"processed","sent_count":1,"status":"ok",`,
			`"contract":"tg-live.runtime.telemetry"`, `"drop_total":0,"fetch_total":1`, `"send_total":1`)},

		{line: `SCENARIO_ID="S2-telegram-transient-fetch"`},
		{line: `CHANNEL_TELEGRAM_API_URL="https://api.telegram.org" HTTPS_PROXY="http://127.0.0.1:9" ` + runCycle, shows: `"status":"failed"`},
		{line: showSignals, shows: in(`"error_count":1,"error_details":[{"category":"error","code":"adapter-fetch-exception"`, `"operation":"fetch_updates"`, `"retryable":true`,
			`"errors":."fetch_updates failed`, `"fetched_count":0,"reason":"adapter-fetch-exception","sent_count":0,"status":"failed"`, `"drop_total":0,"fetch_total":0`, `"send_total":0`)},

		{line: `SCENARIO_ID="S3-codex-timeout"`},
		{line: `CHANNEL_ORCHESTRATOR_MODE="codex" CHANNEL_CODEX_TIMEOUT_S="0.001" ` + runCycle, shows: `"status":"ok"`, messages: 1},
		{line: showSignals, shows: failed("codex-timeout")},
		{line: `SCENARIO_ID="S3-codex-exec-fail"`},
		{line: `PATH="/nonexistent" CHANNEL_ORCHESTRATOR_MODE="codex" ` + runCycle, shows: `"status":"ok"`, messages: 1},
		{line: showSignals, shows: failed("codex-exec-failed")},

		{line: `SCENARIO_ID="S4-allowlist-drop"`},
		{line: `CHANNEL_ALLOWED_CHAT_IDS="999999999" ` + runCycle, shows: `"status":"ok"`, messages: 1},
		{line: showSignals, shows: in(`"dropped_count":1,"error_count":0,"error_details":[{"category":"drop","code":"allowlist-drop"`, `"operation":"allowlist_check"`, `"retryable":false`,
			`"reason":"processed","sent_count":0,"status":"ok"`, `"drop_total":1`)},
		{line: `jq -e '.dropped_updates[0].reason | contains("chat_id not allowlisted")' "${LOG_DIR}/${SCENARIO_ID}.json"`, shows: `^true\n$`},
		// Of every report: S1, S2, both of S3, S4.
		{line: `jq '[.error_details[] | has("code","message","retryable","source","category","diagnostic_id"), (.context | has("update_id","chat_id","session_id","layer","operation"))] | all' "${LOG_DIR}"/S?-*.json`, shows: `^(true\n){5}$`},
		{line: `jq '.telemetry | .contract == "tg-live.runtime.telemetry" and .version == "2.0" and (.counters | has("heartbeat_emit_failures"))' "${LOG_DIR}"/S?-*.json`, shows: `^(true\n){5}$`},
		{line: `jq '.telemetry.timers_ms.cycle_total | . >= 0 and . == floor' "${LOG_DIR}"/S?-*.json`, shows: `^(true\n){5}$`},
		{line: `jq '.telemetry.placeholders | has("retry_total") and has("queue_depth") and has("worker_restart_total")' "${LOG_DIR}"/S?-*.json`, shows: `^(true\n){5}$`},
		{line: `for report in "${LOG_DIR}"/S?-*.json; do sed -E -e 's/[0-9]{8,}/<REDACTED_NUMERIC_ID>/g' -e 's/(bot)[A-Za-z0-9:_-]+/\1<REDACTED>/g' "${report}" > "${report%.json}.redacted.json"; done`},
		{line: `ls "${LOG_DIR}"`, shows: `^(S[1-4]-[a-z-]+\.json\nS[1-4]-[a-z-]+\.redacted\.json\n){5}$`},

		{line: `export CHANNEL_LIVE_MODE="false"`},
		{line: `export CHANNEL_ORCHESTRATOR_MODE="default"`},
		{line: `export CHANNEL_ALLOWED_CHAT_IDS=""`},
		{line: "bin/telecodex --once", shows: `"reason":"processed","sent_count":1,"status":"ok"`, messages: 1},
	}
}

// The protocol by hand, from the first line to the last, shows every expected
// signal.
func TestSmokeProtocolByHand(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the documents show lines for a POSIX shell")
	}
	var documented []string
	for _, b := range blocks(t) {
		if b.document == smokeDocument {
			documented = append(documented, b.lines...)
		}
	}
	s := newSession(t)
	lines := smokeLines()
	for i, documented := range documented {
		if i >= len(lines) || documented != lines[i].line {
			t.Fatalf("no test runs this line: %s", documented)
		}
		output := s.run(t, lines[i])
		if documented == showSignals {
			output = sorted(t, output)
		}
		if !regexp.MustCompile(lines[i].shows).MatchString(output) {
			t.Fatalf("%s\nthe output does not match %q:\n%s", documented, lines[i].shows, output)
		}
	}
	if len(documented) != len(lines) {
		t.Errorf("%s shows %d lines, the test knows %d", smokeDocument, len(documented), len(lines))
	}
}

// sorted is JSON in one form, whichever jq has printed it.
func sorted(t *testing.T, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// session is a shell in which a person types the document, and the simulated
// Telegram that it is about.
type session struct {
	sim   *telegramsim.Server
	input io.Writer
	lines *bufio.Reader
}

func newSession(t *testing.T) *session {
	t.Helper()
	dir := t.TempDir()
	programs, err := harness.Build(t.Context(), filepath.Join(dir, "bin"), "telecodex", "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	furnish(t, dir, programs)
	shell := exec.Command("sh")
	shell.Dir, shell.Env = dir, append(os.Environ(), "CHANNEL_TELEGRAM_API_URL="+sim.URL, "CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=",
		"CHANNEL_LOG_LEVEL=error", "CODEX_HOME="+filepath.Join(dir, "codex_home"), "PATH="+filepath.Join(dir, "tools")+string(os.PathListSeparator)+os.Getenv("PATH"))
	shell.Stderr = t.Output()
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(3*time.Minute, func() { _ = shell.Process.Kill() })
	t.Cleanup(func() {
		stuck.Stop()
		input.Close()
		if err := shell.Wait(); err != nil {
			t.Errorf("the shell: %v", err)
		}
	})
	return &session{sim: sim, input: input, lines: bufio.NewReader(output)}
}

// furnish puts into a directory what the document counts on: a token, the
// template, Codex and jq.
func furnish(t *testing.T, dir string, programs harness.Programs) {
	t.Helper()
	for _, name := range []string{"deploy", "tools"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	template, err := os.ReadFile(filepath.Join(root, "deploy", "smoke.env.example"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"token.txt": telegramsim.DefaultToken + "\n", filepath.Join("deploy", "smoke.env.example"): string(template)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tools := map[string]string{"codex": programs.Path("fakecodex")}
	if _, err := exec.LookPath("jq"); err != nil {
		tools["jq"] = filepath.Join(pinnedTools(t), "gojq")
		if _, err := os.Stat(tools["jq"]); err != nil {
			t.Skip("neither jq is there nor gojq: `make .bin/gojq` builds the latter")
		}
	}
	for name, program := range tools {
		if err := os.Symlink(program, filepath.Join(dir, "tools", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// run types a line and returns what it prints. A line that asks for messages gets
// them.
func (s *session) run(t *testing.T, l smokeLine) string {
	t.Helper()
	const done = "<done>"
	asks := strings.Contains(l.line, "--live")
	message := telegramsim.Incoming{ChatID: documentedChat, Text: "hello"}
	if !asks && l.messages > 0 {
		s.sim.Inject(message)
	}
	// The machine may be busy: what is shown here is no measurement.
	line := strings.Replace(l.line, "smoke --simulated", "smoke --simulated --limit-s 100", 1)
	if _, err := fmt.Fprintf(s.input, "%s\necho '%s'\n", line, done); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	for {
		text, err := s.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v\n%s", l.line, err, output.String())
		}
		if strings.TrimSpace(text) == done {
			return output.String()
		}
		output.WriteString(text)
		if asks && strings.Contains(text, "send this message to the bot") {
			s.sim.Inject(message)
		}
	}
}
