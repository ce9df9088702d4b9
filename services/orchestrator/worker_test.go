package orchestrator_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/test/bufconn"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/orchestrator"
)

func TestWatchWorkerSpeaksAtOnceAndOnChange(t *testing.T) {
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

func TestCapabilities(t *testing.T) {
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
		`telecodex_turns_total{state="succeeded"} 1`, `telecodex_turns_total{state="failed"} 1`, "telecodex_turn_slots 16", "telecodex_turns_running 0",
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(string(body), "telecodex_unknown_events_total 0\n") {
		t.Error("the unknown events of the turn are not counted")
	}
}
