package orchestrator_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/orchestrator"
)

func TestWatchWorkerSpeaksAtOnceAndOnChange(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *orchestrator.Config) { c.MaxTurns = 3 })
	stream, err := w.WatchWorker(t.Context(), &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *orchestratorv1.WatchWorkerResponse {
		t.Helper()
		status, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if status := next(); status.GetSlotsTotal() != 3 || status.GetSlotsUsed() != 0 || status.GetDraining() || status.GetProcessId() == "" {
		t.Errorf("at once: %v", status)
	}
	turn := w.begin(request("t1", "hang"), 2)
	if status := next(); status.GetSlotsUsed() != 1 {
		t.Errorf("with a turn: %v", status)
	}
	w.cancelTurn("t1")
	w.end(turn)
	if status := next(); status.GetSlotsUsed() != 0 {
		t.Errorf("after the turn: %v", status)
	}
	w.cancel()
	if status := next(); !status.GetDraining() {
		t.Errorf("draining: %v", status)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
}

func (w *worker) drain(r *orchestratorv1.DrainWorkerRequest) *orchestratorv1.DrainWorkerResponse {
	w.t.Helper()
	answer, err := w.DrainWorker(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

func TestAWorkerThatIsDrainedStaysAndCanTakeTurnsAgain(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *orchestrator.Config) { c.Drain = time.Hour })
	states, err := w.WatchWorker(t.Context(), &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, reached func(*orchestratorv1.WatchWorkerResponse) bool) {
		t.Helper()
		for {
			if state, err := states.Recv(); err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			} else if reached(state) {
				return
			}
		}
	}
	healthy := func(want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		health, err := healthv1.NewHealthClient(w.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
		for err == nil {
			var answer *healthv1.HealthCheckResponse
			if answer, err = health.Recv(); answer.GetStatus() == want {
				return
			}
		}
		t.Fatal(err)
	}
	turn := w.begin(request("t1", "hang"), 2)
	if answer := w.drain(&orchestratorv1.DrainWorkerRequest{}); answer.GetPatience().AsDuration() != time.Hour || answer.GetSlotsUsed() != 1 ||
		answer.GetWorkerId() == "" || answer.GetProcessId() == "" {
		t.Errorf("DrainWorker() = %v", answer)
	}
	until("draining", func(s *orchestratorv1.WatchWorkerResponse) bool { return s.GetDraining() && s.GetSlotsUsed() == 1 })
	healthy(healthv1.HealthCheckResponse_NOT_SERVING)
	if _, err := w.run(request("t2", "echo")).accepted(); rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING {
		t.Errorf("a new turn ends with %v", err)
	}
	// Undone, nothing is stopped; drained again without patience, everything is.
	w.drain(&orchestratorv1.DrainWorkerRequest{Patience: durationpb.New(900 * time.Millisecond)}) // less than the next turn takes
	w.drain(&orchestratorv1.DrainWorkerRequest{Undo: true})
	healthy(healthv1.HealthCheckResponse_SERVING)
	if _, finished := w.finish(request("t3", "turn_1s")); outcome(finished) != "SUCCEEDED" {
		t.Errorf("a turn after that ends as %v", finished)
	}
	if state := w.turn("t1").GetState(); state != orchestratorv1.TurnState_TURN_STATE_RUNNING {
		t.Errorf("what ran is %v", state)
	}
	w.drain(&orchestratorv1.DrainWorkerRequest{Patience: durationpb.New(0)})
	if finished := w.end(turn); outcome(finished) != "INTERRUPTED DRAINED" {
		t.Errorf("what ran ends as %v", finished)
	}
	until("empty", func(s *orchestratorv1.WatchWorkerResponse) bool { return s.GetDraining() && s.GetSlotsUsed() == 0 })
	w.drain(&orchestratorv1.DrainWorkerRequest{Undo: true}) // on the same stream: the worker stayed
	until("taking turns", func(s *orchestratorv1.WatchWorkerResponse) bool { return !s.GetDraining() })
}

func TestPatienceWithADrainingWorkerHasBounds(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, d := range []*durationpb.Duration{durationpb.New(-1), durationpb.New(7*24*time.Hour + 1), {Seconds: 1, Nanos: -1}} {
		_, err := w.DrainWorker(t.Context(), &orchestratorv1.DrainWorkerRequest{Patience: d})
		if rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST || rpc.FieldOf(err) != "patience" {
			t.Errorf("patience %v: %v", d, err)
		}
	}
	if w.status().GetDraining() {
		t.Error("it drains")
	}
}

func TestEveryStartOfAWorkerCounts(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	for want := int32(1); want <= 3; want++ {
		w := startWith(t, config)
		if got := w.status().GetStartCount(); got != want {
			t.Errorf("start %d counts as %d", want, got)
		}
		w.stop()
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, err := w.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if c.GetCodexVersion() != "0.169.0" || c.GetWorkerId() == "" || c.GetJournalId() == "" || c.GetContainment() == "" ||
		strings.Join(c.GetAllowedSandboxModes(), " ") != "read-only workspace-write" {
		t.Errorf("capabilities = %v", c)
	}
	for _, id := range []string{"agent_api.run", "agent_api.events", "agent_api.events.live", "agent_api.exec.non_interactive",
		"backend.codex.exec_stream", "backend.codex.exec.sandbox_mode", "backend.codex.exec.approval_policy"} {
		if !strings.Contains(strings.Join(c.GetCapabilities(), " ")+" ", id+" ") {
			t.Errorf("capability %s is missing", id)
		}
	}
}

func TestWorkerInMemory(t *testing.T) {
	t.Parallel()
	lis := bufconn.Listen(1 << 20)
	config := testConfig(t)
	config.Listener = lis
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- orchestrator.Run(ctx, config) }()
	conn, err := rpc.Dial("passthrough:///worker", rpc.DialOptions{
		Dialer: func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, conn: conn, OrchestratorServiceClient: orchestratorv1.NewOrchestratorServiceClient(conn)}
	if _, finished := w.finish(request("t1", "echo")); outcome(finished) != "SUCCEEDED" {
		t.Errorf("finished = %v", finished)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfAWorker(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "m")
	w := start(t, func(c *orchestrator.Config) { c.MetricsAddr = "unix://" + socket })
	w.finish(request("t1", "all_items"))
	w.finish(request("t2", "turn_failed"))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://worker/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`telecodex_orchestrator_turns_ended_total{state="succeeded"} 1`, `telecodex_orchestrator_turns_ended_total{state="failed"} 1`,
		`telecodex_orchestrator_turn_failures_total{cause="turn_failed"} 1`, `telecodex_orchestrator_codex_starts_total{outcome="started"} 2`,
		`telecodex_orchestrator_slots{state="free"} 16`, `telecodex_orchestrator_slots{state="used"} 0`, "telecodex_orchestrator_streams 0",
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(string(body), `telecodex_orchestrator_events_total{kind="unknown"} 0`+"\n") {
		t.Error("the unknown events of the turn are not counted")
	}
}
