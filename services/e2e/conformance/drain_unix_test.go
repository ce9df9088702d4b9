//go:build unix

package conformance

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Windows has no signal that asks a process to drain.
func TestOwnWorkerThatDrainsTakesNothingNewAndEndsWhatRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := underTest.worker(t, dir, "ORCHESTRATOR_DRAIN_S=2")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	states, err := w.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	short, long := w.run(t, w.request(t, "turn_1s")), w.run(t, w.request(t, "hang"))
	short.next()
	long.next()
	if err := w.own.Terminate(); err != nil {
		t.Fatal(err)
	}
	for draining := false; !draining; {
		state, err := states.Recv()
		if err != nil {
			t.Fatalf("waiting for draining: %v", err)
		}
		draining = state.GetDraining()
	}
	_, err = w.tryRun(t, w.request(t, ""))
	wantRefusal(t, err, codes.Unavailable, diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING)
	wantEnd(t, short.finished(), succeeded, 0)
	wantEnd(t, long.finished(), orchestratorv1.TurnState_TURN_STATE_INTERRUPTED, orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED)
	if status := w.own.Status(); status != 0 {
		t.Errorf("the worker left with status %d: %s", status, w.own.Stderr())
	}
	t.Run("the next start knows both", func(t *testing.T) {
		next := underTest.worker(t, dir)
		equalEvents(t, "the turn that ended", short.events, next.watch(t, short.turnID, 0).rest())
		equalEvents(t, "the turn that was stopped", long.events, next.watch(t, long.turnID, 0).rest())
	})
}
