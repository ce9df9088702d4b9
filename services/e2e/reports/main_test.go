package reports

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/telegramsim"
)

// patience bounds every wait.
const patience = time.Minute

// world is what all tests share: the programs, built once, and a worker with the
// scripted Codex. Each test has a bot of its own, for whom nothing has happened.
type world struct {
	programs harness.Programs
	worker   *harness.Worker
	bots     atomic.Int64
}

var shared world

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (finish func() error, err error) {
		if shared.programs, err = harness.Build(context.Background(), dir, "gateway", "orchestrator", "fakecodex"); err != nil {
			return nil, err
		}
		if shared.worker, err = startWorker(filepath.Join(dir, "worker")); err != nil {
			return nil, err
		}
		return func() error { return shared.worker.Stop(20 * time.Second) }, nil
	})
}

func startWorker(dir string, env ...string) (*harness.Worker, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return harness.StartWorker(context.Background(), harness.WorkerConfig{Programs: shared.programs, Dir: dir, Env: append([]string{
		"ORCHESTRATOR_ALLOWED_SANDBOXES=read-only,workspace-write",
		"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1",
	}, env...)})
}

const chat = 1000

// gateway is a simulated Telegram and a directory for a gateway.
type gateway struct {
	t      *testing.T
	sim    *telegramsim.Server
	dir    string
	token  string
	worker string // its address
}

// newGateway starts nothing but Telegram, whose first update has the given id.
func newGateway(t *testing.T, firstUpdate int64) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), token: fmt.Sprintf("%d:TOKEN-SECRET-DO-NOT-LEAK", 1000000+shared.bots.Add(1)), worker: shared.worker.Addr}
	var err error
	if g.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{Token: g.token, FirstUpdateID: firstUpdate}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// withoutCodex gives the gateway a worker that finds no Codex.
func (g *gateway) withoutCodex() { g.withWorker("ORCHESTRATOR_CODEX_BIN=no-such-codex") }

// withAWorkerOfItsOwn: what is done to it concerns no other gateway.
func (g *gateway) withAWorkerOfItsOwn() { g.withWorker() }

func (g *gateway) withWorker(env ...string) {
	g.t.Helper()
	worker, err := startWorker(filepath.Join(g.dir, "worker"), env...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := worker.Stop(20 * time.Second); err != nil {
			g.t.Error(err)
		}
	})
	g.worker = worker.Addr
}

// runningTurn waits until Codex runs for this bot, and returns the turn's id.
func (g *gateway) runningTurn(ctx context.Context, worker orchestratorv1.OrchestratorServiceClient) string {
	g.t.Helper()
	bot, _, _ := strings.Cut(g.token, ":")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		listed, err := worker.ListTurns(ctx, &orchestratorv1.ListTurnsRequest{UnacknowledgedOnly: true})
		if err != nil {
			g.t.Fatal(err)
		}
		for _, turn := range listed.GetTurns() {
			// Its thread is known once Codex has said something.
			if strings.HasPrefix(turn.GetTurnId(), bot+"-") && turn.GetThreadId() != "" {
				return turn.GetTurnId()
			}
		}
		<-tick.C
	}
}

// cancelTurn asks the worker to stop the gateway's turn, as /cancel does.
func (g *gateway) cancelTurn() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	worker := orchestratorv1.NewOrchestratorServiceClient(g.dial(g.worker))
	if _, err := worker.CancelTurn(ctx, &orchestratorv1.CancelTurnRequest{TurnId: g.runningTurn(ctx, worker)}); err != nil {
		g.t.Fatal(err)
	}
}

// drainWorker takes the gateway's worker out of service, with no patience for what
// runs.
func (g *gateway) drainWorker() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	worker := orchestratorv1.NewOrchestratorServiceClient(g.dial(g.worker))
	g.runningTurn(ctx, worker)
	if _, err := worker.DrainWorker(ctx, &orchestratorv1.DrainWorkerRequest{Patience: durationpb.New(0)}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) say(text string) telegramsim.Injected {
	return g.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: text})
}

// start starts the program; the test ends it.
func (g *gateway) start(args []string, env ...string) *harness.Process {
	g.t.Helper()
	p, err := harness.Start(harness.Command{Path: shared.programs.Path("gateway"), Args: args, Dir: g.dir, Env: append([]string{
		"CHANNEL_TOKEN=" + g.token,
		"CHANNEL_TELEGRAM_API_URL=" + g.sim.URL,
		"CHANNEL_ORCHESTRATOR_ADDR=" + g.worker,
		"CHANNEL_ALLOWED_CHAT_IDS=1000",
		"CHANNEL_CURSOR_STATE_PATH=cursor.json", "CHANNEL_STORE=gateway.db",
		"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=", "CHANNEL_SEND_RATE=0", "CHANNEL_LOG_LEVEL=debug",
	}, env...)})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := p.Stop(20 * time.Second); err != nil {
			g.t.Error(err)
		}
		if g.t.Failed() {
			g.t.Logf("%s\n%s", p.Stdout(), p.Stderr())
		}
		if leaks(p.Stdout() + p.Stderr()) {
			g.t.Error("the gateway has printed a secret")
		}
	})
	return p
}

// leaks looks for the tests' secrets, and for those of the scripted Codex.
func leaks(text string) bool {
	return strings.Contains(text, "DO-NOT-LEAK") || strings.Contains(text, codexsim.StderrSecret) || strings.Contains(text, codexsim.RawLineSecret)
}

// ended waits for the end of a program.
func (g *gateway) ended(p *harness.Process) (status int) {
	g.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.Done():
	case <-timer.C:
		g.t.Fatal("the gateway goes on")
	}
	return p.Status()
}
