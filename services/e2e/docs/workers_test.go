package docs

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// workersDocument is a procedure: its lines build on each other, and run with the
// settings of one worker or of the other.
const workersDocument = "docs/WORKERS.md"

// workersLines are the document's, with what their output must match.
var workersLines = []struct {
	line, shows string
	other       bool // where the conversation goes to
}{
	{line: "bin/orchestrator drain --patience 600", shows: `^worker [-0-9a-f]{36} is empty and takes no turns`},
	{line: "bin/orchestrator export", shows: `^{"session_id":"telegram:123456789","thread_id":"[-0-9a-f]{36}","last_turn_id":"1000000-1-\d+-1"}\n$`},
	{line: "bin/orchestrator export telegram:123456789 --out session.tgz", shows: `"file":"session.tgz"}\n$`},
	{line: "bin/orchestrator import session.tgz > move.json", shows: `^$`, other: true},
	{line: ".bin/grpcurl -plaintext -d @ 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/MoveSession < move.json", shows: `"applied": true`},
}

// two are two workers, of which the first has a conversation.
type two struct {
	dir      string
	workers  [2]*harness.Worker
	gateway  *harness.Process
	operator string
	sim      *telegramsim.Server
	programs harness.Programs
}

func startTwo(t *testing.T) *two {
	t.Helper()
	s := &two{dir: t.TempDir()}
	var err error
	if s.programs, err = harness.Build(t.Context(), filepath.Join(s.dir, "bin"), "gateway", "orchestrator", "fakecodex"); err != nil {
		t.Fatal(err)
	}
	if s.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		t.Fatal(err)
	}
	stops := []func() error{s.sim.Close}
	for i, dir := range []string{"one", "other"} {
		slots := []string{"16", "4"}[i] // so that the first is chosen
		s.workers[i], err = harness.StartWorker(t.Context(), harness.WorkerConfig{Programs: s.programs, Dir: filepath.Join(s.dir, dir),
			Env: []string{"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_SCENARIO=echo", "ORCHESTRATOR_MAX_TURNS=" + slots}})
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, func() error { return s.workers[i].Stop(10 * time.Second) })
	}
	if s.operator, err = freeport.Addr(); err != nil {
		t.Fatal(err)
	}
	s.gateway, err = harness.Start(harness.Command{Path: s.programs.Path("gateway"), Dir: s.dir, Env: []string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + s.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=123456789",
		"CHANNEL_ORCHESTRATOR_ADDR=" + s.workers[0].Addr + "," + s.workers[1].Addr, "CHANNEL_LISTEN_ADDR=" + s.operator, "CHANNEL_METRICS_ADDR=off",
		"CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=false", // answers alone are counted
		"CHANNEL_STORE=" + filepath.Join(s.dir, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH=",
	}})
	if err != nil {
		t.Fatal(err)
	}
	stops = append(stops, func() error { return s.gateway.Stop(10 * time.Second) })
	t.Cleanup(func() {
		for i := len(stops) - 1; i >= 0; i-- {
			if err := stops[i](); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// client asks the gateway; until waits for what it says of its workers.
func (s *two) until(t *testing.T, what string, cond func(*gatewayv1.GetStatusResponse) bool) *gatewayv1.GetStatusResponse {
	t.Helper()
	conn, err := harness.Dial(s.operator)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		status, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		if err == nil && cond(status) {
			return status
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("never: %s (%v, %v): %s", what, status, err, s.gateway.Stderr())
		}
	}
}

// say lets the person write and waits for so many messages in all.
func (s *two) say(t *testing.T, text string, messages int) string {
	t.Helper()
	s.sim.Inject(telegramsim.Incoming{ChatID: documentedChat, Text: text})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heard, err := s.sim.WaitForMessages(ctx, documentedChat, messages)
	if err != nil {
		t.Fatalf("%v: %s", err, s.gateway.Stderr())
	}
	return heard[messages-1].Text
}

// run runs a line with the settings of one of the workers.
func (s *two) run(t *testing.T, line string, worker *harness.Worker, dir string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", strings.NewReplacer("127.0.0.1:7451", s.operator, ".bin/grpcurl ", grpcurl(t)+" -max-time 30 ").Replace(line))
	shell.Dir = s.dir
	shell.Env = append(os.Environ(), "ORCHESTRATOR_LISTEN_ADDR="+worker.Addr, "ORCHESTRATOR_STATE_DIR="+worker.StateDir(),
		"ORCHESTRATOR_CODEX_HOME="+filepath.Join(s.dir, dir, "codex"))
	var stderr strings.Builder
	shell.Stderr = &stderr
	output, err := shell.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", line, err, output, stderr.String())
	}
	return string(output)
}

// TestAConversationMovesAsDocumented follows the document line by line: what was
// said before is known afterwards, and a message that waited is answered there.
func TestAConversationMovesAsDocumented(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the documents show lines for a POSIX shell")
	}
	if _, err := os.Stat(grpcurl(t)); err != nil {
		t.Skip("grpcurl is not there: `make .bin/grpcurl` builds it")
	}
	var lines []string
	for _, b := range blocks(t) {
		if b.document == workersDocument {
			lines = append(lines, b.lines...)
		}
	}
	s := startTwo(t)
	s.until(t, "both workers are reached", func(r *gatewayv1.GetStatusResponse) bool {
		return len(r.GetWorkers()) == 2 && r.GetWorkers()[0].GetReachable() && r.GetWorkers()[1].GetReachable()
	})
	if text := s.say(t, "the word is heron", 1); !strings.Contains(text, "heron") {
		t.Fatalf("answered %q", text)
	}
	for i, l := range workersLines {
		if i == len(lines) || lines[i] != l.line {
			t.Fatalf("line %d of the document is %q, tested is %q", i+1, lines[min(i, len(lines)-1)], l.line)
		}
		worker, dir := s.workers[0], "one"
		if l.other {
			worker, dir = s.workers[1], "other"
		}
		if output := s.run(t, l.line, worker, dir); !regexp.MustCompile(l.shows).MatchString(output) {
			t.Errorf("%s: the output does not match %q:\n%s", l.line, l.shows, output)
		}
		if i == 0 { // written while its worker takes no turns
			s.until(t, "it drains", func(r *gatewayv1.GetStatusResponse) bool {
				return r.GetWorkers()[0].GetDraining() || r.GetWorkers()[1].GetDraining()
			})
			s.sim.Inject(telegramsim.Incoming{ChatID: documentedChat, Text: "recall"})
			s.until(t, "it waits", func(r *gatewayv1.GetStatusResponse) bool { return r.GetQueuedCount() == 1 })
		}
	}
	if len(lines) != len(workersLines) {
		t.Errorf("the document has %d lines, %d are tested", len(lines), len(workersLines))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heard, err := s.sim.WaitForMessages(ctx, documentedChat, 2)
	if err != nil || !strings.Contains(heard[1].Text, "the word is heron") {
		t.Errorf("answered %+v, %v: %s", heard, err, s.gateway.Stderr())
	}
	var move struct {
		WorkerID string `json:"worker_id"`
	}
	content, err := os.ReadFile(filepath.Join(s.dir, "move.json"))
	if err == nil {
		err = json.Unmarshal(content, &move)
	}
	if err != nil || !strings.Contains(s.workers[1].Stderr(), move.WorkerID) {
		t.Errorf("it moved to %q, %v", move.WorkerID, err)
	}
}
