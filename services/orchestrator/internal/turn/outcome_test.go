package turn

import (
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
)

const (
	threadA = "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"
	threadB = "01a1ffd2-7c2a-7ba3-b974-221e2ce82700"
)

func started(id string) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_ThreadStarted{ThreadStarted: &orchestratorv1.ThreadStarted{ThreadId: id}}}
}

func completed() *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_TurnCompleted{TurnCompleted: &orchestratorv1.TurnCompleted{}}}
}

func failed(message string) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Message: message, Detail: &orchestratorv1.TurnEvent_TurnFailed{TurnFailed: &orchestratorv1.TurnFailed{}}}
}

func lineError() *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_LineError{LineError: &orchestratorv1.LineError{}}}
}

func said(item, text string, part, parts uint32) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Text: text, Detail: &orchestratorv1.TurnEvent_ItemCompleted{ItemCompleted: &orchestratorv1.ItemCompleted{
		Item: &orchestratorv1.Item{Id: item, Kind: &orchestratorv1.Item_AgentMessage{AgentMessage: &orchestratorv1.AgentMessage{
			TextPart: &orchestratorv1.TextPart{Part: part, Parts: parts}}}}}}}
}

func commandStarted(item string) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_ItemStarted{ItemStarted: &orchestratorv1.ItemStarted{
		Item: &orchestratorv1.Item{Id: item, Kind: &orchestratorv1.Item_CommandExecution{CommandExecution: &orchestratorv1.CommandExecution{}}}}}}
}

func commandEnded(item string) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_ItemCompleted{ItemCompleted: &orchestratorv1.ItemCompleted{
		Item: &orchestratorv1.Item{Id: item, Kind: &orchestratorv1.Item_CommandExecution{CommandExecution: &orchestratorv1.CommandExecution{}}}}}}
}

func planned(item string) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_ItemStarted{ItemStarted: &orchestratorv1.ItemStarted{
		Item: &orchestratorv1.Item{Id: item, Kind: &orchestratorv1.Item_TodoList{TodoList: &orchestratorv1.TodoList{}}}}}}
}

func exit(code int32) *codex.Exit { return &codex.Exit{Code: &code} }

func TestOutcome(t *testing.T) {
	type events = []*orchestratorv1.TurnEvent
	answered := events{started(threadA), said("item_0", "hello", 1, 1), completed()}
	for _, tt := range []struct {
		name   string
		asked  string
		events events
		end    ending
		want   string // state cause text
	}{
		{"completed", "", answered, ending{exit: exit(0)}, "SUCCEEDED"},
		{"completed, whatever the exit", "", answered, ending{exit: exit(1)}, "SUCCEEDED"},
		{"completed, whatever our stop made of it", "", answered, ending{exit: &codex.Exit{Signal: "SIGKILL"}}, "SUCCEEDED"},
		{"completed before the cancel took effect", "", answered, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED, exit: exit(1)}, "SUCCEEDED"},
		{"completed before the worker was lost", "", answered, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST}, "SUCCEEDED"},
		{"exit 0 without a word", "", nil, ending{exit: exit(0)}, "SUCCEEDED"},
		{"exit 0 without terminal event", "", events{started(threadA), said("i", "hello", 1, 1)}, ending{exit: exit(0)}, "SUCCEEDED"},
		{"turn failed", "", events{started(threadA), failed("x")}, ending{exit: exit(1)},
			"FAILED TURN_FAILED codex exited non-zero: exit status 1 (stderr redacted)"},
		{"turn failed with exit 0", "", events{failed("x")}, ending{exit: exit(0)}, "FAILED TURN_FAILED codex turn failed"},
		{"exit 3", "", events{started(threadA)}, ending{exit: exit(3)}, "FAILED EXIT codex exited non-zero: exit status 3 (stderr redacted)"},
		{"exit 1 without a word", "", nil, ending{exit: exit(1)}, "FAILED EXIT codex exited non-zero: exit status 1 (stderr redacted)"},
		{"killed by a signal", "", events{started(threadA)}, ending{exit: &codex.Exit{Signal: "SIGSEGV"}},
			"FAILED EXIT codex exited non-zero: signal SIGSEGV (stderr redacted)"},
		{"end not observed", "", events{started(threadA)}, ending{exit: &codex.Exit{}}, "FAILED EXIT codex stream closed unexpectedly"},
		{"thread not resumable", threadA, nil, ending{exit: exit(1)}, "FAILED THREAD_NOT_RESUMABLE codex thread cannot be resumed"},
		{"thread in use", threadA, nil, ending{exit: &codex.Exit{Code: exit(1).Code, Class: orchestratorv1.FailureClass_FAILURE_CLASS_THREAD_IN_USE}},
			"FAILED EXIT codex exited non-zero: exit status 1 (stderr redacted)"},
		{"resume with a broken configuration", threadA, nil, ending{exit: &codex.Exit{Code: exit(1).Code, Class: orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION}},
			"FAILED EXIT codex exited non-zero: exit status 1 (stderr redacted)"},
		{"resume while the provider fails", threadA, nil, ending{exit: &codex.Exit{Code: exit(1).Code, Class: orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER}},
			"FAILED EXIT codex exited non-zero: exit status 1 (stderr redacted)"},
		{"resume of what has become too long", threadA, nil, ending{exit: &codex.Exit{Code: exit(1).Code, Class: orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH}},
			"FAILED THREAD_NOT_RESUMABLE codex thread cannot be resumed"},
		{"exit 1 of a resumed thread after a line", threadA, events{lineError()}, ending{exit: exit(1)},
			"FAILED EXIT codex exited non-zero: exit status 1 (stderr redacted)"},
		{"exit 2 of a resumed thread", threadA, nil, ending{exit: exit(2)}, "FAILED EXIT codex exited non-zero: exit status 2 (stderr redacted)"},
		{"cancelled before a resumed thread spoke", threadA, nil, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED, exit: exit(1)},
			"CANCELLED CANCELLED codex turn cancelled"},
		{"resumed thread in other letters", threadA, events{started(strings.ToUpper(threadA)), completed()}, ending{exit: exit(0)}, "SUCCEEDED"},
		{"another thread", threadA, append(events{started(threadB)}, answered...), ending{exit: exit(0)},
			"FAILED THREAD_MISMATCH codex opened another thread than the one asked for"},
		{"spawn", "", nil, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN}, "FAILED SPAWN codex backend error: spawn"},
		{"timeout", "", events{started(threadA)}, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT, exit: exit(1)},
			"FAILED TIMEOUT codex backend error: timeout"},
		{"completed after the limit", "", answered, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT, exit: exit(0)},
			"FAILED TIMEOUT codex backend error: timeout"},
		{"idle", "", events{started(threadA)}, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT, exit: exit(1)},
			"FAILED IDLE_TIMEOUT codex stream idle timeout"},
		{"drained", "", events{started(threadA)}, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED, exit: exit(1)},
			"INTERRUPTED DRAINED codex turn interrupted: the worker is being shut down"},
		{"worker lost", "", events{started(threadA)}, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST},
			"INTERRUPTED WORKER_LOST codex turn interrupted: the worker stopped"},
		{"journal failed", "", events{started(threadA)}, ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_IO, exit: exit(1)},
			"INTERRUPTED IO codex backend error: io"},
		{"output broken", "", events{started(threadA)}, ending{broken: true, exit: exit(0)}, "FAILED IO codex backend error: io"},
		{"output closed", "", events{started(threadA)}, ending{closed: true, exit: exit(1)}, "FAILED IO codex stream closed unexpectedly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutcome(tt.asked)
			for _, event := range tt.events {
				o.observe(event)
			}
			finished := o.finish(tt.end)
			got := strings.TrimPrefix(finished.GetState().String(), "TURN_STATE_")
			if detail := finished.GetErrorDetail(); detail != nil {
				got += " " + strings.TrimPrefix(detail.GetCause().String(), "FINISH_CAUSE_") + " " + detail.GetMessage()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFailureClassComesFromTheLastWords(t *testing.T) {
	o := newOutcome("")
	o.observe(failed("exceeded retry limit, last status: 429 Too Many Requests"))
	if class := o.finish(ending{exit: exit(1)}).GetErrorDetail().GetFailureClass(); class != orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT {
		t.Errorf("class = %v", class)
	}
	last := exit(1)
	last.Class = orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION
	if class := newOutcome("").finish(ending{exit: last}).GetErrorDetail().GetFailureClass(); class != last.Class {
		t.Errorf("class = %v", class)
	}
	if class := newOutcome("").finish(ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED, exit: last}).GetErrorDetail().GetFailureClass(); class != 0 {
		t.Errorf("class of a cancelled turn = %v", class)
	}
}

func TestAnswerIsTheLastMessageCutAtARune(t *testing.T) {
	long := strings.Repeat("a", finalTextBytes-1)
	for _, tt := range []struct {
		name      string
		events    []*orchestratorv1.TurnEvent
		want      string
		sequence  uint64
		truncated bool
	}{
		{"none", nil, "", 0, false},
		{"the last of two", []*orchestratorv1.TurnEvent{said("item_0", "one", 1, 1), said("item_1", "two", 1, 1)}, "two", 2, false},
		{"exactly full", []*orchestratorv1.TurnEvent{said("item_0", long+"b", 1, 1)}, long + "b", 1, false},
		{"cut", []*orchestratorv1.TurnEvent{said("item_0", long, 1, 2), said("item_0", "bc", 2, 2)}, long + "b", 1, true},
		{"cut before a rune that does not fit", []*orchestratorv1.TurnEvent{said("item_0", long, 1, 2), said("item_0", "éc", 2, 2)}, long, 1, true},
		{"nothing after the cut", []*orchestratorv1.TurnEvent{said("item_0", long, 1, 3), said("item_0", "é", 2, 3), said("item_0", "c", 3, 3)}, long, 1, true},
		{"short after cut", []*orchestratorv1.TurnEvent{said("item_0", long+"bc", 1, 1), said("item_1", "ok", 1, 1)}, "ok", 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutcome("")
			for i, event := range tt.events {
				event.Sequence = uint64(i + 1)
				o.observe(event)
			}
			got := o.finish(ending{exit: exit(0)})
			if got.GetFinalText() != tt.want || got.GetAnswerSequence() != tt.sequence || got.GetFinalTextTruncated() != tt.truncated {
				t.Errorf("%d bytes, sequence %d, truncated %v", len(got.GetFinalText()), got.GetAnswerSequence(), got.GetFinalTextTruncated())
			}
		})
	}
}

func TestSilenceIsExpectedWhileAnItemIsInProgress(t *testing.T) {
	o := newOutcome("")
	for i, step := range []struct {
		event *orchestratorv1.TurnEvent
		busy  bool
	}{
		{started(threadA), false}, {planned("item_0"), false}, {commandStarted("item_1"), true}, {commandStarted("item_2"), true},
		{commandEnded("item_1"), true}, {said("item_3", "x", 1, 1), true}, {commandEnded("item_2"), false},
	} {
		if o.observe(step.event); o.busy() != step.busy {
			t.Errorf("after step %d busy is %v", i, o.busy())
		}
	}
}
