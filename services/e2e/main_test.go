package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// patience bounds every wait.
const patience = time.Minute

// built are the programs, built once before the first test.
var built harness.Programs

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (func() error, error) {
		var err error
		built, err = harness.Build(context.Background(), dir, "gateway", "orchestrator", "telecodex", "fakecodex", "faketelegram")
		return nil, err
	})
}

const chat = 1000

// system is a simulated Telegram, a gateway's and a worker's directories, and
// whatever of the programs runs.
type system struct {
	t        *testing.T
	sim      *telegramsim.Server
	dir      string
	addr     string // of the worker
	codexLog string
	worker   *harness.Process
	gateway  *harness.Process
	programs *harness.Programs // gateway and worker of its own; nil: those that all have
	start    func(harness.Command) (*harness.Process, error)
}

// path is where the gateway or the worker stands.
func (s *system) path(name string) string {
	if s.programs != nil {
		return s.programs.Path(name)
	}
	return built.Path(name)
}

// newSystem starts nothing but Telegram. A prompt may choose its scenario.
func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), start: harness.Start}
	s.codexLog = filepath.Join(s.dir, "codex.log")
	var err error
	if s.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.addr, err = freeport.Addr(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range []*harness.Process{s.gateway, s.worker} {
			if p != nil {
				if err := p.Stop(20 * time.Second); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Logf("%s\n%s", p.Stdout(), p.Stderr())
				}
			}
		}
		if err := s.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *system) startWorker(env ...string) {
	s.t.Helper()
	var err error
	s.worker, err = s.start(harness.Command{Path: s.path("orchestrator"), Dir: s.dir, Env: append([]string{
		"ORCHESTRATOR_LISTEN_ADDR=" + s.addr,
		"ORCHESTRATOR_METRICS_ADDR=off",
		"ORCHESTRATOR_CODEX_BIN=" + built.Path("fakecodex"),
		"ORCHESTRATOR_CODEX_HOME=" + filepath.Join(s.dir, "codex"),
		"ORCHESTRATOR_STATE_DIR=" + filepath.Join(s.dir, "worker"),
		"ORCHESTRATOR_DRAIN_S=1",
		"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1,FAKE_CODEX_LOG=" + s.codexLog,
	}, env...)})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) startGateway(args []string, env ...string) *harness.Process {
	s.t.Helper()
	p, err := s.start(harness.Command{Path: s.path("gateway"), Args: args, Dir: s.dir, Env: append([]string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken,
		"CHANNEL_TELEGRAM_API_URL=" + s.sim.URL,
		"CHANNEL_ORCHESTRATOR_ADDR=" + s.addr,
		"CHANNEL_ALLOWED_CHAT_IDS=1000,1001",
		"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=", "CHANNEL_SEND_RATE=0",
	}, env...)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = p
	return p
}

// once runs one cycle and returns its exit status and report.
func (s *system) once(env ...string) (int, map[string]any) {
	s.t.Helper()
	p := s.startGateway([]string{"--once"}, env...)
	s.wait("the cycle ends", p.Done())
	lines := strings.Split(strings.TrimSpace(p.Stdout()), "\n")
	var report map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &report); err != nil || len(lines) != 1 {
		s.t.Fatalf("printed %q: %v", lines, err)
	}
	return p.Status(), report
}

func (s *system) wait(what string, done <-chan struct{}) {
	s.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.t.Fatalf("never: %s\n%s", what, s.gateway.Stderr())
	}
}

func (s *system) eventually(what string, cond func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			for _, p := range []*harness.Process{s.gateway, s.worker} {
				if p != nil {
					s.t.Log(p.Stderr())
				}
			}
			s.t.Fatalf("never: %s", what)
		}
	}
}

func (s *system) say(text string) telegramsim.Injected {
	return s.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: text})
}

// heard waits until a number of messages were sent and returns their texts.
func (s *system) heard(count int) (texts []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	messages, err := s.sim.WaitForMessages(ctx, chat, count)
	if err != nil {
		s.t.Fatalf("%d messages, want %d: %v\n%s", len(messages), count, err, s.gateway.Stderr())
	}
	for _, m := range messages {
		texts = append(texts, m.Text)
	}
	return texts
}

// runs counts the processes of Codex that took a prompt.
func (s *system) runs(prompt string) (started, ended int) {
	s.t.Helper()
	if first, rest, ok := strings.Cut(prompt, "\n"); ok && strings.HasPrefix(first, "!scenario") {
		prompt = rest // Codex takes the first line for itself
	}
	entries, err := codexsim.ReadLog(s.codexLog)
	if err != nil {
		return 0, 0 // an entry is being written
	}
	for _, e := range entries {
		if e.PromptSHA256 != codexsim.PromptDigest(prompt) {
			continue
		}
		switch e.Event {
		case "start":
			started++
		case "end":
			ended++
		}
	}
	return started, ended
}

func codes(report map[string]any) (all []string) {
	for _, d := range report["error_details"].([]any) {
		all = append(all, d.(map[string]any)["code"].(string))
	}
	return all
}
