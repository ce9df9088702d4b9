package conformance

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestHealthIsServed(t *testing.T) {
	t.Parallel()
	answer, err := healthv1.NewHealthClient(underTest.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", answer, err)
	}
}

func TestReflectionListsTheServices(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(underTest.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{"telecodex.orchestrator.v1.OrchestratorService", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %q", want, names)
		}
	}
}

func TestGetCapabilities(t *testing.T) {
	t.Parallel()
	got, err := underTest.client.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for what, list := range map[string]struct{ got, want []string }{
		"capabilities": {got.GetCapabilities(), []string{
			"agent_api.run", "agent_api.events", "agent_api.events.live", nonInteractive,
			"backend.codex.exec_stream", sandboxMode, approvalPolicy,
		}},
		"extension_keys":        {got.GetExtensionKeys(), []string{nonInteractive, sandboxMode, approvalPolicy}},
		"allowed_sandbox_modes": {got.GetAllowedSandboxModes(), []string{"read-only", "workspace-write", "danger-full-access"}},
	} {
		if !slices.IsSorted(list.got) {
			t.Errorf("%s is not sorted: %q", what, list.got)
		}
		for _, want := range list.want {
			if !slices.Contains(list.got, want) {
				t.Errorf("%s lacks %s: %q", what, want, list.got)
			}
		}
	}
	if got.GetCodexVersion() != "0.169.0" {
		t.Errorf("codex_version %q, fakecodex says 0.169.0", got.GetCodexVersion())
	}
	if got.GetTestedCodexVersionMin() == "" || got.GetTestedCodexVersionMax() == "" {
		t.Errorf("tested versions %q to %q", got.GetTestedCodexVersionMin(), got.GetTestedCodexVersionMax())
	}
	state := underTest.state(t)
	if got.GetWorkerId() != state.GetWorkerId() || got.GetJournalId() != state.GetJournalId() {
		t.Errorf("GetCapabilities %v, WatchWorker %v", got, state)
	}
	if kinds := []string{"namespace", "cgroup", "scan", "process-group", "job-object"}; !slices.Contains(kinds, got.GetContainment()) {
		t.Errorf("containment %q", got.GetContainment())
	}
}

// Every extension key that a worker announces is one that it takes.
func TestAnnouncedExtensionKeysAreKnown(t *testing.T) {
	t.Parallel()
	answer, err := underTest.client.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range answer.GetExtensionKeys() {
		request := underTest.request(t, "")
		request.Extensions = extensions(t, map[string]any{key: []any{}})
		_, err := underTest.tryRun(t, request)
		if codeOf(err) != codes.InvalidArgument || infoOf(err).GetReason() != "INVALID_REQUEST" {
			t.Errorf("%s with a value of a wrong type: %v", key, err)
		}
	}
}

// Not parallel: it counts slots.
func TestWatchWorkerSaysWhatChanges(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := underTest.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	// until reads states until one has this many used slots.
	until := func(used int32) *orchestratorv1.WatchWorkerResponse {
		t.Helper()
		for {
			state, err := stream.Recv()
			if err != nil {
				t.Fatalf("waiting for %d used slots: %v", used, err)
			}
			if state.GetSlotsUsed() == used {
				return state
			}
		}
	}
	first := until(0)
	if first.GetWorkerId() == "" || first.GetJournalId() == "" || first.GetProcessId() == "" || first.GetSlotsTotal() < 1 || first.GetDraining() {
		t.Errorf("the first state is %v", first)
	}
	f := underTest.run(t, underTest.request(t, "hang"))
	until(1)
	underTest.cancel(t, f.turnID)
	f.rest()
	if last := until(0); !proto.Equal(first, last) {
		t.Errorf("the state is %v, at first it was %v", last, first)
	}
}

func TestOwnWorkerBeatsWithoutAChange(t *testing.T) {
	t.Parallel()
	w := underTest.worker(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := w.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	second, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if beat := time.Since(since); beat < 5*time.Second || beat > 20*time.Second || !proto.Equal(first, second) {
		t.Errorf("after %v: %v, at first %v", beat, second, first)
	}
}
