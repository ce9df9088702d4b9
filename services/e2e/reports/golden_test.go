package reports

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/internal/telegramsim"
)

var update = flag.Bool("update", false, "rewrite the golden reports")

// scenario is one cycle of `gateway --once`.
type scenario struct {
	firstUpdate int64 // 0: the simulator's own
	prompt      string
	prepare     func(*gateway) // after the prompt was said; nil: nothing
	during      func(*gateway) // while Codex runs; nil: nothing
	env         []string
	status      int // exit status
	unixOnly    string
}

// quiet makes a failed turn one that nobody is told of, as the origin did.
const quiet = "CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=false"

func scenarios() map[string]scenario {
	const strict = "CHANNEL_STRICT_CURSOR_STATE_IO=true"
	return map[string]scenario{
		"answer":     {firstUpdate: 100000001, prompt: "hello id=1"},
		"no_updates": {},
		"unsupported_update": {prepare: func(g *gateway) {
			g.sim.Inject(telegramsim.Incoming{ChatID: chat})
		}},
		"echo":           {prompt: "hello", env: []string{"CHANNEL_ORCHESTRATOR_MODE=default", "CHANNEL_ALLOWED_CHAT_IDS="}},
		"allowlist_drop": {firstUpdate: 100000004, prompt: "hello id=4", env: []string{"CHANNEL_ALLOWED_CHAT_IDS=999999999"}},
		"stale_drop": {prepare: func(g *gateway) {
			g.write("cursor.json", `{"committed_floor": 200000000, "version": 1}`)
			g.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: "old", Date: 1_000_000_000})
		}},
		"fetch_failure": {prompt: "hello", status: 1, prepare: func(g *gateway) {
			g.sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, HTML: true})
		}},
		"dead_proxy": {status: 1, env: []string{"CHANNEL_TELEGRAM_API_URL=https://api.telegram.org",
			"HTTPS_PROXY=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9", "NO_PROXY=", "no_proxy="}},
		"codex_timeout":      {firstUpdate: 100000002, prompt: "hello id=2", env: []string{"CHANNEL_CODEX_TIMEOUT_S=0.001", quiet}},
		"codex_timeout_told": {firstUpdate: 100000002, prompt: "hello id=2", env: []string{"CHANNEL_CODEX_TIMEOUT_S=0.001"}},
		"codex_missing":      {firstUpdate: 100000002, prompt: "hello id=2", env: []string{quiet}, prepare: (*gateway).withoutCodex},
		"contract_violation": {prompt: "hello", env: []string{"CHANNEL_CODEX_SANDBOX_MODE=danger-full-access", quiet}},
		"turn_failed":        {prompt: "!scenario turn_failed\nhello", env: []string{quiet}},
		"codex_crash":        {prompt: "!scenario crash\nhello", env: []string{quiet}},
		"codex_invalid_response": {env: []string{quiet}, prepare: func(g *gateway) {
			g.say("hello") // the conversation has a thread
			g.ended(g.start([]string{"--once"}))
			g.say("!scenario other_thread\nhello")
		}},
		"turn_cancelled":   {prompt: "!scenario hang\nhello", during: (*gateway).cancelTurn},
		"turn_interrupted": {prompt: "!scenario hang\nhello", prepare: (*gateway).withAWorkerOfItsOwn, during: (*gateway).drainWorker},
		"delivery_in_doubt": {prompt: "hello", prepare: func(g *gateway) {
			g.sim.Fail(telegramsim.Fault{Method: "sendMessage", Reset: true, Execute: true})
		}},
		"send_refused": {prompt: "hello", prepare: func(g *gateway) {
			g.sim.Fail(telegramsim.Fault{Method: "sendMessage", Status: 403, Description: "Forbidden: bot was blocked by the user"})
		}},
		"cursor_load_error":        {prompt: "hello", prepare: brokenCursor},
		"cursor_load_error_strict": {prompt: "hello", status: 1, env: []string{strict}, prepare: brokenCursor},
		"cursor_save_error": {prompt: "hello", prepare: unwritableCursor,
			unixOnly: "the system's own words for a file that is a directory are part of the report"},
		"cursor_save_error_strict_at_fetch": {status: 1, env: []string{strict}, prepare: func(g *gateway) {
			g.write("cursor.json", `{"committed_floor": 100000001, "version": 1}`)
			unwritableCursor(g)
		}, unixOnly: "the system's own words for a file that is a directory are part of the report"},
		"cursor_save_error_strict_at_ack": {prompt: "hello", env: []string{strict}, prepare: unwritableCursor,
			unixOnly: "the system's own words for a file that is a directory are part of the report"},
		"store_damaged": {prompt: "hello", status: 1, prepare: func(g *gateway) {
			g.write("gateway.db", "this is no database, and long enough to be seen as none: "+strings.Repeat("x", 4096))
		}},
		"invalid_config": {status: 2, env: []string{"CHANNEL_TOKEN="}},
	}
}

func (g *gateway) write(name, content string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func brokenCursor(g *gateway) { g.write("cursor.json", "[]") }

// unwritableCursor puts a directory where the file is prepared.
func unwritableCursor(g *gateway) {
	if err := os.Mkdir(filepath.Join(g.dir, "cursor.json.tmp"), 0o700); err != nil {
		g.t.Fatal(err)
	}
}

// times are all that differs from one run to the next.
var times = regexp.MustCompile(`("(?:cycle_total|fetch|send)"):[0-9]+([,}])`)

// TestOnceReports compares what `gateway --once` prints, byte for byte but for
// three times and the line breaks, with a golden report for each scenario.
func TestOnceReports(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			if s.unixOnly != "" && runtime.GOOS == "windows" {
				t.Skip("not on windows:", s.unixOnly)
			}
			g := newGateway(t, s.firstUpdate)
			if s.prompt != "" {
				g.say(s.prompt)
			}
			if s.prepare != nil {
				s.prepare(g)
			}
			p := g.start([]string{"--once"}, s.env...)
			if s.during != nil {
				s.during(g)
			}
			if status := g.ended(p); status != s.status {
				t.Errorf("exit status %d, want %d", status, s.status)
			}
			golden(t, name, p.Stdout())
		})
	}
}

func golden(t *testing.T, name, stdout string) {
	t.Helper()
	line, found := strings.CutSuffix(stdout, "\n")
	if !found || strings.Contains(line, "\n") {
		t.Fatalf("printed %q, not one line", stdout)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, times.ReplaceAll([]byte(line), []byte("$1:0$2")), "", "  "); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	got.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

// TestEveryGoldenReportIsPlayed: none is left behind by a scenario that went.
func TestEveryGoldenReportIsPlayed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	known := scenarios()
	for _, file := range files {
		if _, ok := known[strings.TrimSuffix(filepath.Base(file), ".json")]; !ok {
			t.Errorf("nothing plays %s", file)
		}
	}
}

// TestEveryCodeHasAGoldenReport, as far as it can be raised here.
func TestEveryCodeHasAGoldenReport(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{
		"orchestrator-error": "a worker that is newer than this one raises it: TestOutcomesAndWhatThePersonIsTold plays one",
	}
	runbook, err := os.ReadFile("../../../docs/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var played strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		played.Write(text)
	}
	codes := regexp.MustCompile("(?m)^\\| `([a-z]+(?:-[a-z]+)+)` \\| (never raised: )?.+ \\| .+ \\| .+ \\|$").FindAllStringSubmatch(string(runbook), -1)
	for _, code := range codes {
		_, exempt := elsewhere[code[1]]
		golden := strings.Contains(played.String(), `"code": "`+code[1]+`"`)
		if want := code[2] == "" && !exempt; golden != want {
			t.Errorf("%s: a golden report: %v, expected: %v", code[1], golden, want)
		}
	}
	if len(codes) < 10 {
		t.Errorf("%d codes in the runbook", len(codes))
	}
}
