package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestTurnIDWithOtherInputIsRefused(t *testing.T) {
	request := underTest.request(t, "")
	original := underTest.run(t, request).rest()
	changes := map[string]func(*orchestratorv1.RunTurnRequest){
		"session_id": func(r *orchestratorv1.RunTurnRequest) { r.SessionId += "x" },
		"thread_id":  func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = uuid.NewString() },
		"prompt":     func(r *orchestratorv1.RunTurnRequest) { r.Prompt += " " },
	}
	if underTest.own != nil {
		dir := filepath.Join(underTest.own.WorkspaceRoot(), "elsewhere")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		changes["working_dir"] = func(r *orchestratorv1.RunTurnRequest) { r.WorkingDir = dir }
	}
	for field, change := range changes {
		t.Run(field, func(t *testing.T) {
			other := proto.CloneOf(request)
			change(other)
			_, err := underTest.tryRun(t, other)
			wantRefusal(t, err, codes.AlreadyExists, diagnosticsv1.ErrorReason_ERROR_REASON_TURN_ID_REUSED)
		})
	}
	underTest.wantStarts(t, request.GetTurnId(), 1)
	equalEvents(t, "the turn afterwards", original, underTest.watch(t, request.GetTurnId(), 0).rest())
}

// What is not part of the input may differ from one attempt to the next.
func TestSameInputAttaches(t *testing.T) {
	request := underTest.request(t, "")
	original := underTest.run(t, request).rest()
	again := proto.CloneOf(request)
	again.Env = map[string]string{"ANOTHER": "value"}
	again.Extensions = extensions(t, map[string]any{sandboxMode: "read-only"})
	again.ExpectedJournalId = underTest.state(t).GetJournalId()
	f := underTest.run(t, again)
	if !f.accepted.GetAttached() {
		t.Error("accepted does not say attached")
	}
	equalEvents(t, "attached", original, f.rest())
	underTest.wantStarts(t, request.GetTurnId(), 1)
}

func TestUnknownTurnIsNeverStarted(t *testing.T) {
	t.Parallel()
	id := underTest.request(t, "").GetTurnId()
	for name, call := range map[string]func() error{
		"WatchTurn": func() error {
			_, err := underTest.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: id})
			return err
		},
		"GetTurn": func() error {
			_, err := underTest.client.GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{TurnId: id})
			return err
		},
		"AcknowledgeTurn": func() error {
			_, err := underTest.client.AcknowledgeTurn(t.Context(), &orchestratorv1.AcknowledgeTurnRequest{TurnId: id})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, call(), codes.NotFound, diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN)
		})
	}
	underTest.wantUnknown(t, id)
	underTest.wantStarts(t, id, 0)
}

func TestTombstoneKeepsALateRunTurnFromStarting(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "")
	id := request.GetTurnId()
	for range 2 {
		answer, err := underTest.client.CancelTurn(t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: id})
		if err != nil {
			t.Fatal(err)
		}
		turn := answer.GetTurn()
		if !turn.GetTombstone() || turn.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED || turn.GetSessionId() != "" {
			t.Errorf("CancelTurn of an unknown id says %v", turn)
		}
	}
	for name, f := range map[string]*follow{"RunTurn": underTest.run(t, request), "WatchTurn": underTest.watch(t, id, 0)} {
		if !f.accepted.GetAttached() {
			t.Errorf("%s does not say attached", name)
		}
		finished := f.finished()
		if len(f.events) != 1 || finished.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED ||
			finished.GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED {
			t.Errorf("%s streams %v", name, f.events)
		}
	}
	underTest.wantStarts(t, id, 0)
}

func TestSessionRunsOneTurnAtATime(t *testing.T) {
	t.Parallel()
	first := underTest.request(t, "hang")
	f := underTest.run(t, first)
	f.next()
	second := underTest.request(t, "")
	second.SessionId = first.GetSessionId()
	underTest.wantNothingStarted(t, second, codes.Aborted, diagnosticsv1.ErrorReason_ERROR_REASON_SESSION_BUSY)
	// Attaching is not running.
	underTest.watch(t, first.GetTurnId(), 0)
	underTest.run(t, first)
	underTest.cancel(t, first.GetTurnId())
	f.rest()
	if state := underTest.run(t, second).finished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("the same request after the first turn's end finished as %v", state)
	}
}

// Not parallel: it takes every slot.
func TestWorkerFullSaysWhenToRetry(t *testing.T) {
	state := underTest.state(t)
	if state.GetSlotsUsed() != 0 {
		t.Fatalf("%d slots are used by somebody else", state.GetSlotsUsed())
	}
	running := make([]*follow, state.GetSlotsTotal())
	for i := range running {
		running[i] = underTest.run(t, underTest.request(t, "hang"))
	}
	if state := underTest.state(t); state.GetSlotsUsed() != state.GetSlotsTotal() {
		t.Errorf("WatchWorker says %v", state)
	}
	waiting := underTest.request(t, "")
	_, err := underTest.wantNothingStarted(t, waiting, codes.ResourceExhausted, diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL)
	if delay := retryDelay(err); delay == nil || delay.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("RetryInfo is %v", delay)
	}
	// A full worker still lets its turns be followed.
	underTest.watch(t, running[0].turnID, 0)
	for _, f := range running {
		underTest.cancel(t, f.turnID)
		f.rest()
	}
	if state := underTest.run(t, waiting).finished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("the same request with a free slot finished as %v", state)
	}
}

func retryDelay(err error) *errdetails.RetryInfo {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry
		}
	}
	return nil
}

func TestJournalMismatchIsRefused(t *testing.T) {
	t.Parallel()
	const mismatch = diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH
	other := uuid.NewString()
	t.Run("RunTurn of a new turn", func(t *testing.T) {
		request := underTest.request(t, "")
		request.ExpectedJournalId = other
		underTest.wantNothingStarted(t, request, codes.FailedPrecondition, mismatch)
		request.ExpectedJournalId = underTest.state(t).GetJournalId()
		underTest.run(t, request).rest()
	})
	t.Run("known turn", func(t *testing.T) {
		request := underTest.request(t, "")
		underTest.run(t, request).rest()
		again := proto.CloneOf(request)
		again.ExpectedJournalId = other
		_, err := underTest.tryRun(t, again)
		wantRefusal(t, err, codes.FailedPrecondition, mismatch)
		_, err = underTest.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: request.GetTurnId(), ExpectedJournalId: other})
		wantRefusal(t, err, codes.FailedPrecondition, mismatch)
	})
	t.Run("unknown turn", func(t *testing.T) {
		// Nothing can be said about a turn by the wrong journal.
		_, err := underTest.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: "conformance-" + other, ExpectedJournalId: other})
		wantRefusal(t, err, codes.FailedPrecondition, mismatch)
	})
}
