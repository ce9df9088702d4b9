package turn

import (
	"strings"
	"unicode/utf8"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
)

// finalTextBytes bounds Finished.final_text.
const finalTextBytes = 64 << 10

// Texts of a finished event beside those of package codex. The list is closed:
// nothing that Codex said is ever part of them.
const (
	textTurnFailed   = "codex turn failed"
	textCancelled    = "codex turn cancelled"
	textWorkerLost   = "codex turn interrupted: the worker stopped"
	textDrained      = "codex turn interrupted: the worker is being shut down"
	textNotResumable = "codex thread cannot be resumed"
	textWrongThread  = "codex opened another thread than the one asked for"
)

// outcome watches the events of one turn and works out how it ended.
type outcome struct {
	asked string // thread to be resumed; empty: a new one

	events     bool
	thread     string // as Codex named it
	mismatch   bool
	completed  bool
	failed     bool
	class      orchestratorv1.FailureClass // of turn.failed
	inProgress map[string]struct{}         // ids of items
	answer     answer
}

// answer is the last agent message.
type answer struct {
	item      string
	sequence  uint64
	text      string
	truncated bool
}

// ending is why and how a turn came to its end, apart from its events.
type ending struct {
	cause orchestratorv1.FinishCause // what made the worker stop it; unspecified: nothing
	// closed: Codex closed its output and did not leave. broken: its output
	// could not be read.
	closed, broken bool
	exit           *codex.Exit // nil: never started, or unknown
}

func newOutcome(asked string) *outcome {
	return &outcome{asked: asked, inProgress: map[string]struct{}{}}
}

// terminal reports whether Codex itself said that the turn is over.
func (o *outcome) terminal() bool { return o.completed || o.failed }

// busy reports whether an item is in progress, so that silence is expected. A
// plan does not count: it stays open to the turn's end.
func (o *outcome) busy() bool { return len(o.inProgress) > 0 }

// observe takes in the next event.
func (o *outcome) observe(event *orchestratorv1.TurnEvent) {
	o.events = true
	switch detail := event.GetDetail().(type) {
	case *orchestratorv1.TurnEvent_ThreadStarted:
		named := detail.ThreadStarted.GetThreadId()
		o.mismatch = o.mismatch || o.asked != "" && !strings.EqualFold(o.asked, named)
		o.thread = named
	case *orchestratorv1.TurnEvent_ItemStarted:
		o.open(detail.ItemStarted.GetItem())
	case *orchestratorv1.TurnEvent_ItemUpdated:
		o.open(detail.ItemUpdated.GetItem())
	case *orchestratorv1.TurnEvent_ItemCompleted:
		item := detail.ItemCompleted.GetItem()
		delete(o.inProgress, item.GetId())
		if message := item.GetAgentMessage(); message != nil {
			o.answer.add(item.GetId(), event, message.GetTextPart())
		}
	case *orchestratorv1.TurnEvent_TurnCompleted:
		o.completed = true
	case *orchestratorv1.TurnEvent_TurnFailed:
		o.failed = true
		o.class = codex.Classify(event.GetMessage())
	}
}

func (o *outcome) open(item *orchestratorv1.Item) {
	if item.GetTodoList() == nil {
		o.inProgress[item.GetId()] = struct{}{}
	}
}

// add takes in one part of an agent message; the first part of the next message
// replaces what is there.
func (a *answer) add(item string, event *orchestratorv1.TurnEvent, part *orchestratorv1.TextPart) {
	text := event.GetText()
	if part.GetPart() <= 1 {
		*a = answer{item: item, sequence: event.GetSequence()}
		if part.GetParts() > 1 {
			text = strings.Clone(text) // else it would hold the whole message in memory
		}
	}
	if a.truncated {
		return
	}
	if room := finalTextBytes - len(a.text); len(text) > room {
		for room > 0 && !utf8.RuneStart(text[room]) {
			room--
		}
		text, a.truncated = text[:room], true
	}
	a.text += text
}

// finish says how the turn ended.
func (o *outcome) finish(end ending) *orchestratorv1.Finished {
	state, cause, text := o.judge(end)
	finished := &orchestratorv1.Finished{
		State:              state,
		FinalText:          o.answer.text,
		FinalTextTruncated: o.answer.truncated,
		AnswerItemId:       o.answer.item,
		AnswerSequence:     o.answer.sequence,
	}
	if end.exit != nil {
		finished.ExitCode = end.exit.Code
	}
	if state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		finished.ErrorDetail = &orchestratorv1.FinishedError{Cause: cause, FailureClass: o.classify(cause, end), Message: text}
	}
	return finished
}

// judge decides between what Codex said, what the worker did and how the process
// left. turn.completed outweighs everything but a wrong thread and the limit of
// the turn: whatever a stop made of the exit status, the prompt is done. A Codex
// that completes after its limit is late: a SIGINT does not reach one that has
// only just started, and whether it was fast enough would be chance.
func (o *outcome) judge(end ending) (orchestratorv1.TurnState, orchestratorv1.FinishCause, string) {
	const (
		succeeded   = orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
		failed      = orchestratorv1.TurnState_TURN_STATE_FAILED
		cancelled   = orchestratorv1.TurnState_TURN_STATE_CANCELLED
		interrupted = orchestratorv1.TurnState_TURN_STATE_INTERRUPTED
	)
	switch {
	case o.mismatch:
		return failed, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH, textWrongThread
	case o.completed && end.cause != orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT:
		return succeeded, 0, ""
	}
	switch end.cause {
	case orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED:
		return cancelled, end.cause, textCancelled
	case orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST:
		return interrupted, end.cause, textWorkerLost
	case orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED:
		return interrupted, end.cause, textDrained
	case orchestratorv1.FinishCause_FINISH_CAUSE_IO:
		return interrupted, end.cause, codex.BackendMessage(codex.BackendIO)
	case orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN:
		return failed, end.cause, codex.BackendMessage(codex.BackendSpawn)
	case orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT:
		return failed, end.cause, codex.BackendMessage(codex.BackendTimeout)
	case orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT:
		return failed, end.cause, codex.IdleTimeoutMessage
	}
	switch {
	case o.failed:
		return failed, orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, exitText(end.exit, textTurnFailed)
	case end.broken:
		return failed, orchestratorv1.FinishCause_FINISH_CAUSE_IO, codex.BackendMessage(codex.BackendIO)
	case end.closed:
		return failed, orchestratorv1.FinishCause_FINISH_CAUSE_IO, codex.ClosedMessage
	case exitedWith(end.exit, 0):
		return succeeded, 0, ""
	case o.asked != "" && !o.events && exitedWith(end.exit, 1) && !keepsThread(end.exit.Class):
		return failed, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE, textNotResumable
	}
	return failed, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, exitText(end.exit, codex.ClosedMessage)
}

// keepsThread reports whether a refusal to resume has nothing to do with the
// thread itself: a new one would be refused as well, or would only give up a
// conversation that is still there. So it is with every cause that is known, but
// for a conversation that has become too long.
func keepsThread(class orchestratorv1.FailureClass) bool {
	return class != orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED &&
		class != orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH
}

// classify tells failures apart by what Codex said last: in turn.failed, else on
// stderr.
func (o *outcome) classify(cause orchestratorv1.FinishCause, end ending) orchestratorv1.FailureClass {
	switch cause {
	case orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT,
		orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE:
		if o.class != 0 || end.exit == nil {
			return o.class
		}
		return end.exit.Class
	}
	return 0
}

func exitedWith(exit *codex.Exit, code int32) bool {
	return exit != nil && exit.Code != nil && *exit.Code == code
}

// exitText is the text of an exit with another status than 0; otherwise is for
// an exit with 0 or an unknown one.
func exitText(exit *codex.Exit, otherwise string) string {
	if exit == nil || exitedWith(exit, 0) || exit.Code == nil && exit.Signal == "" {
		return otherwise
	}
	return codex.ExitMessage(*exit)
}
