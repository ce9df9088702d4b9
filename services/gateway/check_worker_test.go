package gateway

import (
	"context"
	"net"
	"testing"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/rpc"
)

// standIn is a worker that only says what it can.
type standIn struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	can   *orchestratorv1.GetCapabilitiesResponse
	state *orchestratorv1.WatchWorkerResponse // nil: it does not tell
}

func (s *standIn) GetCapabilities(context.Context, *orchestratorv1.GetCapabilitiesRequest) (*orchestratorv1.GetCapabilitiesResponse, error) {
	return s.can, nil
}

func (s *standIn) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream orchestratorv1.OrchestratorService_WatchWorkerServer) error {
	if s.state == nil {
		return net.ErrClosed
	}
	if err := stream.Send(s.state); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// serve lets it answer until the test ends.
func (s *standIn) serve(t *testing.T) (target string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	orchestratorv1.RegisterOrchestratorServiceServer(server, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func able() *standIn {
	return &standIn{
		can: &orchestratorv1.GetCapabilitiesResponse{Capabilities: []string{"agent_api.events", "agent_api.run"}, AllowedSandboxModes: []string{"read-only"},
			CodexVersion: "0.169.0", TestedCodexVersionMin: "0.169.0", TestedCodexVersionMax: "0.169.0", Containment: "namespace"},
		state: &orchestratorv1.WatchWorkerResponse{SlotsTotal: 16, SlotsUsed: 2},
	}
}

func TestWorkersAreAsked(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	for _, tt := range []struct {
		name    string
		change  func(w *standIn, c *Config)
		finding string // before " <address>"
		verdict checkup.Verdict
		detail  string
	}{
		{"able", nil, "worker", checkup.OK, "2 of 16 slots are taken, 2 capabilities"},
		{"able, its Codex", nil, "codex of", checkup.OK, "0.169.0"},
		{"able, its containment", nil, "containment of", checkup.OK, "namespace"},
		{"able, its sandboxes", nil, "sandbox of", checkup.OK, "read-only"},
		{"another release", func(w *standIn, _ *Config) { w.can.Capabilities = []string{"agent_api.run"} }, "worker", checkup.Fail, "agent_api.events"},
		{"stopping", func(w *standIn, _ *Config) { w.state.Draining = true }, "worker", checkup.Warn, "no new turns"},
		{"silent", func(w *standIn, _ *Config) { w.state = nil }, "worker", checkup.Fail, "does not tell its state (Unknown)"},
		{"without Codex", func(w *standIn, _ *Config) { w.can.CodexVersion = "" }, "codex of", checkup.Fail, "cannot be run"},
		{"with another Codex", func(w *standIn, _ *Config) { w.can.CodexVersion = "0.99.0" }, "codex of", checkup.Warn, "0.99.0"},
		{"weakly contained", func(w *standIn, _ *Config) { w.can.Containment = "scan" }, "containment of", checkup.Warn, "scan"},
		{"asked for more than it allows", func(_ *standIn, c *Config) { c.SandboxMode = "danger-full-access" }, "sandbox of", checkup.Fail, "is refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, c := able(), sound(t, sim)
			if tt.change != nil {
				tt.change(w, &c)
			}
			target := w.serve(t)
			c.OrchestratorAddrs = []string{target}
			expect(t, examined(t, c, false), tt.finding+" "+target, tt.verdict, tt.detail)
		})
	}
}

func TestWorkersThatCannotBeReached(t *testing.T) {
	t.Parallel()
	c := sound(t, simulate(t))
	c.OrchestratorAddrs = []string{"127.0.0.1:1", "\x00"}
	found := examined(t, c, false)
	expect(t, found, "worker 127.0.0.1:1", checkup.Fail, "Unavailable")
	expect(t, found, "worker \x00", checkup.Fail, "")
	c.OrchestratorMode = ModeDefault
	if _, asked := examined(t, c, false)["worker 127.0.0.1:1"]; asked {
		t.Error("the echo mode asked a worker")
	}
}
