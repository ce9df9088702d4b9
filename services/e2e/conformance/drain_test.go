package conformance

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestOwnWorkerDrainsWhenItIsAskedAndTakesTurnsAgain(t *testing.T) {
	t.Parallel()
	w := underTest.worker(t, t.TempDir())
	drain := func(r *orchestratorv1.DrainWorkerRequest) *orchestratorv1.DrainWorkerResponse {
		t.Helper()
		answer, err := w.client.DrainWorker(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	long := w.run(t, w.request(t, "hang"))
	long.next()
	for range 2 { // idempotent
		if answer := drain(&orchestratorv1.DrainWorkerRequest{Patience: durationpb.New(0)}); answer.GetWorkerId() == "" || answer.GetProcessId() == "" {
			t.Errorf("DrainWorker() = %v", answer)
		}
	}
	_, err := w.tryRun(t, w.request(t, ""))
	wantRefusal(t, err, codes.Unavailable, diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING)
	wantEnd(t, long.finished(), orchestratorv1.TurnState_TURN_STATE_INTERRUPTED, orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED)
	equalEvents(t, "what was stopped", long.events, w.watch(t, long.turnID, 0).rest())
	drain(&orchestratorv1.DrainWorkerRequest{Undo: true})
	wantEnd(t, w.run(t, w.request(t, "")).finished(), succeeded, 0)
}
