package conformance

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
)

const (
	succeeded = orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
	failed    = orchestratorv1.TurnState_TURN_STATE_FAILED
)

func TestOutcomeOfEachWayToEnd(t *testing.T) {
	exit := func(status int32) *int32 { return &status }
	for _, tt := range []struct {
		scenario string
		state    orchestratorv1.TurnState
		cause    orchestratorv1.FinishCause
		message  string
		exit     *int32 // nil: not judged
	}{
		{"echo", succeeded, 0, "", exit(0)},
		{"error_then_ok", succeeded, 0, "", exit(0)},
		{"stderr_flood", succeeded, 0, "", exit(0)},
		{"garbage", succeeded, 0, "", exit(0)},
		{"nul_invalid_utf8", succeeded, 0, "", exit(0)},
		// turn.completed decides, whatever the exit status.
		{"completed_then_exit1", succeeded, 0, "", exit(1)},
		{"linger_after_completed", succeeded, 0, "", nil},
		{"turn_failed", failed, orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, "", exit(1)},
		{"crash", failed, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, "codex exited non-zero: exit status 3 (stderr redacted)", exit(3)},
		{"exit1_empty", failed, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, "codex exited non-zero: exit status 1 (stderr redacted)", exit(1)},
		{"no such scenario", failed, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, "codex exited non-zero: exit status 2 (stderr redacted)", exit(2)},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			t.Parallel()
			finished := underTest.run(t, underTest.request(t, tt.scenario)).finished()
			wantEnd(t, finished, tt.state, tt.cause)
			if got := finished.GetErrorDetail().GetMessage(); tt.message != "" && got != tt.message {
				t.Errorf("message %q, want %q", got, tt.message)
			}
			if tt.exit != nil && (finished.ExitCode == nil || finished.GetExitCode() != *tt.exit) {
				t.Errorf("exit_code %v, want %d", finished.ExitCode, *tt.exit)
			}
		})
	}
}

func TestClosedStdoutEndsATurn(t *testing.T) {
	t.Parallel()
	finished := underTest.run(t, underTest.request(t, "close_stdout_and_hang")).finished()
	if finished.GetState() != failed {
		t.Errorf("finished as %v", finished)
	}
	if got, want := finished.GetErrorDetail().GetMessage(), "codex stream closed unexpectedly"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestTheThreadIsResumed(t *testing.T) {
	t.Parallel()
	first := underTest.request(t, "")
	first.Prompt = "the colour is teal"
	f := underTest.run(t, first)
	if finished := f.finished(); finished.GetFinalText() != "You said: the colour is teal" || finished.GetFinalTextTruncated() {
		t.Errorf("finished %v", finished)
	}
	thread := f.events[0].GetThreadStarted().GetThreadId()
	if got := underTest.get(t, f.turnID).GetThreadId(); got != thread || thread == "" {
		t.Fatalf("GetTurn says thread %q, thread_started %q", got, thread)
	}
	t.Run("what was said is remembered", func(t *testing.T) {
		second := underTest.request(t, "")
		second.SessionId, second.ThreadId, second.Prompt = first.GetSessionId(), thread, "recall"
		f := underTest.run(t, second)
		if finished := f.finished(); !strings.Contains(finished.GetFinalText(), "the colour is teal") {
			t.Errorf("finished %v", finished)
		}
		if got := f.events[0].GetThreadStarted().GetThreadId(); got != thread {
			t.Errorf("thread %q, want %q", got, thread)
		}
	})
	t.Run("a new thread remembers nothing", func(t *testing.T) {
		other := underTest.request(t, "")
		other.Prompt = "recall"
		if finished := underTest.run(t, other).finished(); strings.Contains(finished.GetFinalText(), "teal") {
			t.Errorf("finished %v", finished)
		}
	})
	t.Run("a thread that is not there cannot be resumed", func(t *testing.T) {
		unknown := underTest.request(t, "")
		unknown.ThreadId = uuid.NewString()
		wantEnd(t, underTest.run(t, unknown).finished(), failed, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE)
	})
	t.Run("another thread than asked for is an error", func(t *testing.T) {
		other := underTest.request(t, "other_thread")
		other.ThreadId = thread
		wantEnd(t, underTest.run(t, other).finished(), failed, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH)
	})
}

// answerOf puts the whole answer of a turn together.
func answerOf(t *testing.T, events []*orchestratorv1.TurnEvent) string {
	t.Helper()
	finished := events[len(events)-1].GetFinished()
	if finished.GetAnswerSequence() == 0 {
		t.Fatalf("there is no answer: %v", finished)
	}
	var text strings.Builder
	for i, event := range events[finished.GetAnswerSequence()-1:] {
		item := event.GetItemCompleted().GetItem()
		part := item.GetAgentMessage().GetTextPart()
		if item.GetId() != finished.GetAnswerItemId() || part.GetPart() != uint32(i+1) {
			t.Fatalf("event %d is %v, part %v", event.GetSequence(), item.GetId(), part)
		}
		text.WriteString(event.GetText())
		if part.GetPart() == part.GetParts() {
			return text.String()
		}
	}
	t.Fatal("the answer's last part is missing")
	return ""
}

func TestLongAnswersArriveWhole(t *testing.T) {
	t.Parallel()
	const size = 5_000_000
	f := underTest.run(t, underTest.request(t, "huge_line"))
	finished := f.finished()
	want := codexsim.Text(size)
	if got := answerOf(t, f.events); got != want {
		t.Errorf("the answer has %d bytes, want %d", len(got), size)
	}
	final := finished.GetFinalText()
	if !finished.GetFinalTextTruncated() || len(final) > maxText || len(final) < maxText-utf8.UTFMax || !strings.HasPrefix(want, final) {
		t.Errorf("final_text has %d bytes, truncated %v", len(final), finished.GetFinalTextTruncated())
	}
}

func TestLineOverTheBoundIsOneErrorAndTheTurnGoesOn(t *testing.T) {
	t.Parallel()
	const bound = 16 << 20
	f := underTest.run(t, underTest.request(t, "over_line"))
	wantEnd(t, f.finished(), succeeded, 0)
	var errors []*orchestratorv1.LineError
	for _, event := range f.events {
		if line := event.GetLineError(); line != nil {
			errors = append(errors, line)
		}
	}
	if len(errors) != 1 || errors[0].GetLineBytes() != bound+1 || errors[0].GetPhase() != orchestratorv1.LinePhase_LINE_PHASE_PARSE {
		t.Errorf("line errors %v", errors)
	}
}
