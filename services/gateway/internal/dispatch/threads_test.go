package dispatch

import (
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"

	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

func TestAThreadThatCannotBeResumedIsReplacedAndSaid(t *testing.T) {
	t.Parallel()
	const another = "0199a213-81c0-7800-8aa1-bbab2a035a54"
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	w.settled(w.prompt("first"))
	w.outbox(chat)
	f.set(func() {
		f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
			if in.GetThreadId() != "" {
				return ending(orchestratorv1.TurnState_TURN_STATE_FAILED, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE)(in)
			}
			events := answering("again")(in)
			for _, e := range events {
				if started := e.GetThreadStarted(); started != nil {
					started.ThreadId = another
				}
			}
			return events
		}
	})
	u := w.prompt("second")
	w.eventually("the second attempt ends", func() bool { tr := w.trace(u); return len(tr.Turns) == 2 && tr.Turns[1].Outcome != "" })
	turn := w.settled(u)
	equal(t, "attempt", turn.Attempt, 2)
	equal(t, "outcome", turn.Outcome, "succeeded")
	messages := w.outbox(chat)
	if len(messages) != 2 || messages[0].Text != render.ThreadNotResumable() || messages[0].Kind != store.Notice || messages[1].Text != "again" {
		t.Errorf("messages = %+v", messages)
	}
	if session, err := w.store.Session(t.Context(), turn.SessionID); err != nil || session.ThreadID != another {
		t.Errorf("session = %+v, %v", session, err)
	}
}

// TestAPassingFaultGivesNoConversationUp: Codex can neither resume the thread nor
// open another, for one message.
func TestAPassingFaultGivesNoConversationUp(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	w.settled(w.prompt("first"))
	w.outbox(chat)
	f.set(func() {
		f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
			cause := orchestratorv1.FinishCause_FINISH_CAUSE_EXIT
			if in.GetThreadId() != "" {
				cause = orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE
			}
			return ending(orchestratorv1.TurnState_TURN_STATE_FAILED, cause)(in)
		}
	})
	failed := w.settled(w.prompt("second"))
	equal(t, "attempt", failed.Attempt, 2)
	equal(t, "outcome", failed.Outcome, "failed")
	equal(t, "thread asked for", failed.ThreadID, "")
	messages := w.outbox(chat)
	if len(messages) != 1 || !strings.HasPrefix(messages[0].Text, "Sorry") {
		t.Errorf("messages = %+v", messages)
	}
	f.set(func() { f.script = answering("still here") })
	turn := w.settled(w.prompt("third"))
	equal(t, "thread asked for by the next", f.request(turn.ID).GetThreadId(), thread)
	equal(t, "answer", w.said(chat), "still here")
}

// TestTheReportKnowsAsMuchAsThePerson: what a failure looked like follows the
// worker's text.
func TestTheReportKnowsAsMuchAsThePerson(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
		events := ending(orchestratorv1.TurnState_TURN_STATE_FAILED, orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED)(in)
		for _, e := range events {
			if failure := e.GetFinished().GetErrorDetail(); failure != nil {
				failure.FailureClass, failure.Message = orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT, "codex turn failed"
			}
		}
		return events
	}
	w := newWorld(t, f).run()
	equal(t, "message", w.settled(w.prompt("hello")).ErrorMessage, "codex turn failed: rate limit")
	if said := w.said(chat); !strings.Contains(said, "asks for fewer requests") {
		t.Errorf("the person is told %q", said)
	}
}
