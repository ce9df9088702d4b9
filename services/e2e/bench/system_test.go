package bench

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// patience bounds every wait: a figure that bad is none.
const patience = 3 * time.Minute

// system is everything that runs during a measurement. The simulator is part of
// the test binary, so that one clock times both ends.
type system struct {
	sim      *telegramsim.Server
	workers  []*harness.Worker
	worker   *harness.Worker // the first of them
	gateway  *harness.Process
	dir      string // where the gateway runs
	metrics  string // the gateway's address
	operator string // of its API
	chats    int
}

// settings say what a system is to be.
type settings struct {
	chats, slots int
	scenario     string // of the scripted Codex; a prompt may choose another
	codex        string // the program that stands in for Codex; empty: the scripted Codex
	workers      int    // 0: one
	kept         int    // what the databases keep of what is over; 0: the default
}

// start starts a system and waits until the gateway polls. It ends with the
// benchmark, or with stop.
func start(b *testing.B, with settings) *system {
	b.Helper()
	built, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	s := &system{chats: with.chats}
	if s.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.stop(b) })
	dir := b.TempDir()
	s.dir = dir
	if s.metrics, err = freeport.Addr(); err != nil {
		b.Fatal(err)
	}
	if with.kept == 0 {
		with.kept = 100_000
	}
	if with.codex == "" {
		with.codex = built.Path("fakecodex")
	}
	var addrs []string
	for i := range max(1, with.workers) {
		worker, err := harness.StartWorker(b.Context(), harness.WorkerConfig{Programs: built, Dir: filepath.Join(dir, "worker-"+strconv.Itoa(i)), Env: []string{
			"ORCHESTRATOR_CODEX_BIN=" + with.codex,
			"ORCHESTRATOR_MAX_TURNS=" + strconv.Itoa(with.slots),
			"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1,FAKE_CODEX_SCENARIO=" + with.scenario,
			"ORCHESTRATOR_KEEP_TURNS=" + strconv.Itoa(with.kept),
			"ORCHESTRATOR_LOG_LEVEL=info",
		}})
		if err != nil {
			b.Fatal(err)
		}
		s.workers, addrs = append(s.workers, worker), append(addrs, worker.Addr)
	}
	s.worker = s.workers[0]
	if s.operator, err = freeport.Addr(); err != nil {
		b.Fatal(err)
	}
	allowed := make([]string, with.chats)
	for i := range allowed {
		allowed[i] = strconv.Itoa(i + 1)
	}
	s.gateway, err = harness.Start(harness.Command{Path: built.Path("gateway"), Dir: dir, Env: []string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken,
		"CHANNEL_TELEGRAM_API_URL=" + s.sim.URL,
		"CHANNEL_ORCHESTRATOR_ADDR=" + strings.Join(addrs, ","),
		"CHANNEL_ALLOWED_CHAT_IDS=" + strings.Join(allowed, ","),
		"CHANNEL_STORE=" + filepath.Join(dir, "gateway.db"),
		"CHANNEL_CURSOR_STATE_PATH=" + filepath.Join(dir, "cursor.json"),
		"CHANNEL_LISTEN_ADDR=" + s.operator,
		"CHANNEL_METRICS_ADDR=" + s.metrics,
		"CHANNEL_KEEP_SETTLED=" + strconv.Itoa(with.kept),
		"CHANNEL_SEND_RATE=0",
	}})
	if err != nil {
		b.Fatal(err)
	}
	s.await(b, "the gateway polls", func(ctx context.Context) error {
		_, err := s.sim.WaitForState(ctx, func(state telegramsim.State) bool { return state.Polls > 0 })
		return err
	})
	return s
}

// stop ends what was started, in the order of the messages' way. It may be called
// twice.
func (s *system) stop(b *testing.B) {
	if s.gateway != nil {
		if err := s.gateway.Stop(20 * time.Second); err != nil {
			b.Error(err)
		}
	}
	for _, worker := range s.workers {
		if err := worker.Stop(20 * time.Second); err != nil {
			b.Error(err)
		}
	}
	if s.sim != nil {
		if err := s.sim.Close(); err != nil {
			b.Error(err)
		}
	}
	s.gateway, s.workers, s.sim = nil, nil, nil
}

// await waits for something to happen, and fails the benchmark when it does not.
func (s *system) await(b *testing.B, what string, wait func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := wait(ctx); err != nil {
		b.Fatalf("%s: %v\ngateway: %.2000s\norchestrator: %.2000s", what, err, s.gateway.Stderr(), s.worker.Stderr())
	}
}

// say lets the people of all chats write, in turn.
func (s *system) say(count int, text string) {
	for i := range count {
		s.sim.Inject(telegramsim.Incoming{ChatID: int64(i%s.chats + 1), Text: text})
	}
}

// heard waits until count messages were sent in all, and returns them.
func (s *system) heard(b *testing.B, count int) (messages []telegramsim.Message) {
	b.Helper()
	s.await(b, strconv.Itoa(count)+" messages are sent", func(ctx context.Context) (err error) {
		messages, err = s.sim.WaitForMessages(ctx, 0, count)
		return err
	})
	if len(messages) != count {
		b.Fatalf("%d messages were sent for %d", len(messages), count)
	}
	return messages
}

// answered is heard, for answers of the echo.
func (s *system) answered(b *testing.B, count int) []telegramsim.Message {
	b.Helper()
	messages := s.heard(b, count)
	for _, m := range messages {
		if !strings.HasPrefix(m.Text, "You said: ") || m.ReplyTo == 0 {
			b.Fatalf("this is no answer: %.200q", m.Text)
		}
	}
	return messages
}
