package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/telegramsim"
)

// lines collects what Run prints.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// reports are the lines printed so far.
func (l *lines) reports(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var report map[string]any
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, report)
	}
	return all
}

func simulate(t testing.TB) *telegramsim.Server {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// echo is the configuration of an echo gateway in a directory of its own.
func echo(t *testing.T, apiURL string, out *lines) Config {
	t.Helper()
	dir := t.TempDir()
	c := defaults()
	c.Token = func() string { return telegramsim.DefaultToken }
	c.OrchestratorMode, c.APIURL, c.Stdout = ModeDefault, apiURL, out
	c.Store, c.CursorStatePath = filepath.Join(dir, "gateway.db"), filepath.Join(dir, "cursor.json")
	c.ListenAddr, c.MetricsAddr, c.SendRate = "", "", 0
	return c
}

func TestOnceEchoesAndReportsOneCycle(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	in := sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello id=4"})
	c := echo(t, sim.URL, out)
	c.Once = true
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	messages := sim.Messages(1000)
	if len(messages) != 1 || messages[0].Text != "echo: hello id=4" || messages[0].ReplyTo != in.MessageID {
		t.Errorf("messages = %+v", messages)
	}
	reports := out.reports(t)
	if len(reports) != 1 || reports[0]["reason"] != "processed" || reports[0]["sent_count"] != 1.0 || reports[0]["acked_count"] != 1.0 {
		t.Errorf("reports = %v", reports)
	}
	// The next run confirms what this one committed, and answers nothing twice.
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if reports := out.reports(t); len(reports) != 2 || reports[1]["reason"] != "no-updates" || len(sim.Messages(1000)) != 1 {
		t.Errorf("reports = %v", reports)
	}
	if state := sim.State(); state.Pending != 0 {
		t.Errorf("state = %+v", state)
	}
}

// Nobody knows what became of the cycle; the answer was sent all the same.
func TestOnceWhoseReportCannotBeWrittenFails(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	c := echo(t, sim.URL, nil)
	c.Once, c.Stdout = true, full{}
	if err := Run(t.Context(), c); !errors.Is(err, ErrCycleFailed) {
		t.Errorf("Run() = %v", err)
	}
	if n := len(sim.Messages(1000)); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// full is an output that takes nothing, as /dev/full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestOnceWithoutTelegramIsAFailedCycle(t *testing.T) {
	t.Parallel()
	dead, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	out := &lines{}
	c := echo(t, "http://"+dead, out)
	c.Once = true
	if err := Run(t.Context(), c); !errors.Is(err, ErrCycleFailed) {
		t.Errorf("Run = %v", err)
	}
	reports := out.reports(t)
	if len(reports) != 1 || reports[0]["status"] != "failed" || reports[0]["reason"] != "adapter-fetch-exception" ||
		!strings.Contains(reports[0]["errors"].([]any)[0].(string), "fetch_updates failed") {
		t.Errorf("reports = %v", reports)
	}
	if strings.Contains(out.text.String(), telegramsim.DefaultToken) {
		t.Error("the token is in the report")
	}
}

func TestARefusedTokenIsAFailedCycle(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	c := echo(t, sim.URL, out)
	c.Token, c.Once = func() string { return "1000000:WRONG" }, true
	var refused *TokenError
	err := Run(t.Context(), c)
	if !errors.Is(err, ErrCycleFailed) || !errors.As(err, &refused) || !strings.Contains(err.Error(), "check CHANNEL_TOKEN") {
		t.Errorf("Run = %v", err)
	}
	if reports := out.reports(t); len(reports) != 1 || reports[0]["reason"] != "adapter-fetch-exception" {
		t.Errorf("reports = %v", reports)
	}
}

func TestAFailedCycleDoesNotEndContinuousMode(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	sim.Fail(telegramsim.Fault{Method: "getMe", Status: 401, Description: "Unauthorized"})
	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: 3, Status: 502}) // more than the client bears with
	c := echo(t, sim.URL, out)
	c.PollInterval = 10 * time.Millisecond
	start(t, c, out)
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	eventually(t, "answered", func() bool { return len(sim.Messages(1000)) == 1 })
	eventually(t, "reported", func() bool { return len(out.reports(t)) >= 3 })
	reports := out.reports(t)
	for i, want := range []struct {
		reason  string
		retries float64
	}{{"adapter-fetch-exception", 0}, {"adapter-fetch-exception", 2}, {"processed", 0}} {
		counters := reports[i]["telemetry"].(map[string]any)["counters"].(map[string]any)
		if reports[i]["reason"] != want.reason || counters["retry_total"] != want.retries {
			t.Errorf("report %d = %v", i, reports[i])
		}
	}
}

func TestRetriesOfTheFirstCallCount(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	sim.Fail(telegramsim.Fault{Method: "getMe", Count: 2, Status: 502})
	c := echo(t, sim.URL, out)
	c.Once = true
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	sim.Fail(telegramsim.Fault{Method: "getMe", Count: 3, Status: 502})
	if err := Run(t.Context(), c); !errors.Is(err, ErrCycleFailed) {
		t.Errorf("Run = %v", err)
	}
	for i, report := range out.reports(t) {
		telemetry := report["telemetry"].(map[string]any)
		if n := telemetry["counters"].(map[string]any)["retry_total"]; n != 2.0 {
			t.Errorf("report %d: %v retries", i, n)
		}
		if fetch := telemetry["timers_ms"].(map[string]any)["fetch"].(float64); i == 1 && fetch < 700 {
			t.Errorf("the fetch took %v ms with its two waits", fetch)
		}
	}
}

func TestOnceThatCannotOpenItsStoreIsAFailedCycle(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	c := echo(t, sim.URL, out)
	c.Once, c.Store = true, "postgres://localhost/x"
	if err := Run(t.Context(), c); !errors.Is(err, ErrCycleFailed) {
		t.Errorf("Run = %v", err)
	}
	if reports := out.reports(t); len(reports) != 1 || reports[0]["reason"] != "runtime-process-once-exception" {
		t.Errorf("reports = %v", reports)
	}
}

// running is a gateway that goes on until the test ends.
type running struct {
	config Config
	out    *lines
	client gatewayv1.GatewayServiceClient
	stop   func() error
}

func start(t *testing.T, c Config, out *lines) *running {
	t.Helper()
	listener, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listener = listener
	conn, err := rpc.Dial(listener.Addr().String(), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	r := &running{config: c, out: out, client: gatewayv1.NewGatewayServiceClient(conn)}
	r.stop = sync.OnceValue(func() error { cancel(); return errors.Join(<-done, conn.Close()) })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// serves waits until the gateway knows its bot.
func (r *running) serves(t *testing.T) {
	t.Helper()
	eventually(t, "the bot is known", func() bool { return r.status(t).GetBotId() != 0 })
}

func (r *running) status(t *testing.T) *gatewayv1.GetStatusResponse {
	t.Helper()
	s, err := r.client.GetStatus(t.Context(), &gatewayv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOperatorRunsAndWatchesCycles(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	r := start(t, echo(t, sim.URL, out), out)
	r.serves(t)
	if s := r.status(t); s.GetBotId() != 1000000 || s.GetBotUsername() != "telecodex_bot" || s.GetOrchestratorMode() != "default" {
		t.Errorf("status = %v", s)
	}
	watch, err := r.client.WatchCycles(t.Context(), &gatewayv1.WatchCyclesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil {
		t.Fatal(err)
	}
	in := sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	answered, err := watch.Recv()
	if err != nil || answered.GetReport().GetSentCount() != 1 {
		t.Fatalf("%v, %v", answered, err)
	}
	if _, err := sim.WaitForMessages(t.Context(), 1000, 1); err != nil {
		t.Fatal(err)
	}

	cycle, err := r.client.RunCycle(t.Context(), &gatewayv1.RunCycleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var report *telemetryv1.CycleReport
	for report == nil {
		step, err := cycle.Recv()
		if err != nil {
			t.Fatal(err)
		}
		report = step.GetReport()
	}
	if report.GetReason() != "no-updates" {
		t.Errorf("report = %v", report)
	}

	trace, err := r.client.GetUpdateTrace(t.Context(), &gatewayv1.GetUpdateTraceRequest{UpdateId: in.UpdateID})
	if err != nil || trace.GetState() != "DELIVERED" || len(trace.GetOutbox()) != 1 || trace.GetOutbox()[0].GetState() != "SENT" {
		t.Errorf("trace = %v, %v", trace, err)
	}
	if s := r.status(t); s.GetCursor() != in.UpdateID+1 || s.GetLastPollAt() == nil {
		t.Errorf("status = %v", s)
	}
	sessions, err := r.client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{})
	if err != nil || len(sessions.GetSessions()) != 1 || sessions.GetSessions()[0].GetSessionId() != "telegram:1000" {
		t.Errorf("sessions = %v, %v", sessions, err)
	}
}

func TestOperatorRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	r := start(t, echo(t, sim.URL, out), out)
	r.serves(t)
	for name, tt := range map[string]struct {
		call func(context.Context) error
		code codes.Code
	}{
		"a page of negative size": {func(ctx context.Context) error {
			_, err := r.client.ListSessions(ctx, &gatewayv1.ListSessionsRequest{PageSize: -1})
			return err
		}, codes.InvalidArgument},
		"a foreign page token": {func(ctx context.Context) error {
			_, err := r.client.ListSessions(ctx, &gatewayv1.ListSessionsRequest{PageToken: "%"})
			return err
		}, codes.InvalidArgument},
		"an unknown update": {func(ctx context.Context) error {
			_, err := r.client.GetUpdateTrace(ctx, &gatewayv1.GetUpdateTraceRequest{UpdateId: 5})
			return err
		}, codes.NotFound},
		"no decision": {func(ctx context.Context) error {
			_, err := r.client.ResolveTurn(ctx, &gatewayv1.ResolveTurnRequest{TurnId: "x"})
			return err
		}, codes.InvalidArgument},
		"a decision about an unknown turn": {func(ctx context.Context) error {
			_, err := r.client.ResolveTurn(ctx, &gatewayv1.ResolveTurnRequest{TurnId: "x", Resolution: gatewayv1.Resolution_RESOLUTION_DROP})
			return err
		}, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.call(t.Context()); status.Code(err) != tt.code {
				t.Errorf("%v, want %v", err, tt.code)
			}
		})
	}
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestMainMapsToExitStatuses(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	dir := t.TempDir()
	env := map[string]string{
		"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": sim.URL, "CHANNEL_ORCHESTRATOR_MODE": "default",
		"CHANNEL_STORE": filepath.Join(dir, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "", "CHANNEL_LISTEN_ADDR": "", "CHANNEL_METRICS_ADDR": "",
	}
	lookup := func(name string) (string, bool) { value, set := env[name]; return value, set }
	run := func(ctx context.Context, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		return Main(ctx, args, lookup, &stdout, &stderr), stdout.String()
	}
	if status, out := run(t.Context(), "--once"); status != 0 || !strings.Contains(out, `"reason":"no-updates"`) {
		t.Errorf("%d %s", status, out)
	}
	if status, out := run(t.Context(), "--mode", "push"); status != 2 || !strings.Contains(out, `"reason":"invalid-config"`) {
		t.Errorf("%d %s", status, out)
	}
	if status, out := run(t.Context(), "--help"); status != 0 || !strings.Contains(out, "--ack-policy") {
		t.Errorf("%d %s", status, out)
	}
	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, Status: 409})
	if status, out := run(t.Context(), "--once"); status != 1 || !strings.Contains(out, `"status":"failed"`) {
		t.Errorf("%d %s", status, out)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if status, _ := run(ended, "--once"); status != 130 {
		t.Errorf("interrupted: %d", status)
	}
}
