package dispatch

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/status"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/rpc"
)

// Names of outcomes.
const (
	succeeded   = "succeeded"
	failed      = "failed"
	cancelled   = "cancelled"
	interrupted = "interrupted"
)

const (
	promptField    = "prompt" // of RunTurnRequest
	timeoutMessage = "TimeoutError: codex invocation timed out"

	unreachableMessage = "no orchestrator worker can be reached; the update stays queued"
	refusesMessage     = "the worker takes no turn; the update stays queued: "
	drainingMessage    = "the session's worker is being taken out of service; the update stays queued"
	replacedMessage    = "the worker's disk was replaced"
	lostMessage        = "the worker was away for too long; the turn may have run there"
	renumberedMessage  = "the worker knows the turn's id as that of another turn; it is run under the next one"
	heldMessage        = "an interrupted turn waits for a decision; the update stays queued until then"
)

// ending is how the head ended, and what the person is told.
func (r *runner) ending(e lane.Effect) (store.Outcome, []store.Message) {
	switch e {
	case lane.Finish:
		return r.finish()
	case lane.FinishRefused, lane.FinishAbsent:
		o := store.Outcome{Name: failed, ErrorCode: cycle.CodexContract, Absent: e == lane.FinishAbsent,
			ErrorMessage: "the worker refused the turn: " + status.Convert(r.refused).Message()}
		if rpc.FieldOf(r.refused) == promptField && r.m.Notify {
			return o, say(store.Answer, render.PromptRefused(), r.head.MessageID)
		}
		return o, r.failure(o, nil)
	case lane.FinishCancelled:
		return store.Outcome{Name: cancelled, ErrorCode: cycle.TurnCancelled, ErrorMessage: "cancelled before it was run"}, nil
	case lane.Interrupt, lane.InterruptUnpin:
		message := r.finished.GetErrorDetail().GetMessage()
		if message == "" {
			message = "the worker does not know the turn any more"
		}
		text := render.Interrupted(r.m.InterruptedWait)
		switch {
		case e == lane.InterruptUnpin:
			message, text = replacedMessage, render.InterruptedGone(r.m.InterruptedWait)
		case r.lost:
			message, text = lostMessage, render.InterruptedAway(r.m.InterruptedWait)
		}
		o := store.Outcome{Name: interrupted, ErrorCode: cycle.TurnInterrupted, ErrorMessage: message, Usage: r.reply.usage}
		return o, []store.Message{question(r.head, text)}
	case lane.Restart: // the person is told once a new thread is there
		return store.Outcome{}, nil
	case lane.SettleNew:
		return store.Outcome{}, say(store.Reply, render.NewConversation(), r.head.MessageID)
	}
	return store.Outcome{}, nil
}

// finish reads the outcome from the finished event.
func (r *runner) finish() (store.Outcome, []store.Message) {
	f := r.finished
	o := store.Outcome{Usage: r.reply.usage}
	switch f.GetState() {
	case orchestratorv1.TurnState_TURN_STATE_SUCCEEDED:
		o.Name = succeeded
		if f.GetAnswerSequence() == 0 && !r.reply.completed {
			return o, nil // Codex left in good order and had nothing to say
		}
		return o, answers(r.reply.answer(f), r.head.MessageID)
	case orchestratorv1.TurnState_TURN_STATE_CANCELLED:
		o.Name, o.ErrorCode, o.ErrorMessage = cancelled, cycle.TurnCancelled, f.GetErrorDetail().GetMessage()
		return o, nil // the answer to /cancel says so
	}
	o.Name, o.ErrorCode, o.ErrorMessage = failed, cycle.CodexExecFailed, f.GetErrorDetail().GetMessage()+looked(f.GetErrorDetail())
	cause := f.GetErrorDetail().GetCause()
	if _, known := orchestratorv1.FinishCause_name[int32(cause)]; !known || cause == orchestratorv1.FinishCause_FINISH_CAUSE_UNSPECIFIED {
		o.ErrorCode = cycle.OrchestratorError // of a worker that is newer than this gateway
	}
	switch cause {
	case orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT, orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT:
		o.ErrorCode, o.ErrorMessage = cycle.CodexTimeout, timeoutMessage
	case orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH:
		o.ErrorCode = cycle.CodexInvalidAnswer
	}
	return o, r.failure(o, f.GetErrorDetail())
}

// looked is what a failure looked like, in words from a closed list, for an
// operator to know as much as the person is told.
func looked(why *orchestratorv1.FinishedError) string {
	name, known := orchestratorv1.FailureClass_name[int32(why.GetFailureClass())]
	if !known || why.GetFailureClass() == orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED {
		return ""
	}
	return ": " + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "FAILURE_CLASS_"), "_", " "))
}

// failure tells the person that the turn failed, where that is wished.
func (r *runner) failure(o store.Outcome, why *orchestratorv1.FinishedError) []store.Message {
	if !r.m.Notify {
		return nil
	}
	return say(store.Answer, render.Failure(o.ErrorCode, why), r.head.MessageID)
}

// settled reports an update that nothing is to be sent for.
func (m *Manager) settled(key store.Key, sessionID string, o store.Outcome) {
	m.Reports.Settled(key, sessionID, cycle.Result{Code: o.ErrorCode, Message: o.ErrorMessage})
}

// left reports an update that stays stored for a later try.
func (m *Manager) left(key store.Key, sessionID, code, why string) {
	m.Reports.Settled(key, sessionID, cycle.Result{Left: true, Code: code, Message: why})
}

func say(kind, text string, replyTo int64) []store.Message {
	return []store.Message{{Kind: kind, Text: text, ReplyTo: replyTo}}
}

func question(t store.Turn, text string) store.Message {
	return store.Message{Kind: store.Question, Text: text, ReplyTo: t.MessageID, Markup: decisionButtons(t.ID)}
}

func decisionButtons(turnID string) []byte {
	return fmt.Appendf(nil, `{"inline_keyboard":[[{"text":"Resume","callback_data":%q},{"text":"Run again","callback_data":%q},`+
		`{"text":"Drop","callback_data":%q}]]}`, admission.CallbackData(store.Resume, turnID),
		admission.CallbackData(store.Again, turnID), admission.CallbackData(store.Drop, turnID))
}

// answers are the messages of an answer: the first of them replies to the
// question.
func answers(text string, replyTo int64) []store.Message {
	rendering := render.Answer(text)
	var all []store.Message
	for _, m := range rendering.Messages {
		all = append(all, store.Message{Kind: store.Answer, Text: m, ReplyTo: replyTo})
		replyTo = 0
	}
	if d := rendering.Document; d != nil {
		all = append(all, store.Message{Kind: store.Answer, Document: &store.Document{Name: d.Name, Content: d.Content}})
	}
	return all
}
