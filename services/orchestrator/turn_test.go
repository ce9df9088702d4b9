package orchestrator_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestTurnRunsToItsAnswer(t *testing.T) {
	t.Parallel()
	w := start(t)
	events, finished := w.finish(request("t1", "echo"))
	if outcome(finished) != "SUCCEEDED" || finished.GetFinalText() != "You said: hello" || finished.GetExitCode() != 0 || finished.ExitCode == nil {
		t.Errorf("finished = %v", finished)
	}
	if answer := events[finished.GetAnswerSequence()-1]; answer.GetText() != finished.GetFinalText() ||
		answer.GetItemCompleted().GetItem().GetId() != finished.GetAnswerItemId() {
		t.Errorf("answer = %v", answer)
	}
	turn := w.turn("t1")
	if turn.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED || turn.GetLastSequence() != uint64(len(events)) ||
		turn.GetSessionId() != "telegram:t1" || turn.GetThreadId() == "" || turn.GetFinished().GetFinalText() != finished.GetFinalText() ||
		turn.GetCreatedAt() == nil || turn.GetStartedAt() == nil || turn.GetFinishedAt() == nil {
		t.Errorf("turn = %v", turn)
	}
}

func TestThreadIsResumed(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := request("t1", "echo")
	first.Prompt = "remember the number 7"
	w.finish(first)
	second := request("t2", "echo")
	second.SessionId, second.ThreadId, second.Prompt = first.GetSessionId(), w.turn("t1").GetThreadId(), "recall"
	if _, finished := w.finish(second); !strings.Contains(finished.GetFinalText(), first.GetPrompt()) {
		t.Errorf("the answer is %q", finished.GetFinalText())
	}
}

func TestReplayFromEverySequenceEqualsTheOriginal(t *testing.T) {
	t.Parallel()
	w := start(t)
	original, _ := w.finish(request("t1", "all_items"))
	for after := range uint64(len(original) + 2) {
		want := encoded(t, original[min(int(after), len(original)):])
		watched, err := w.watch("t1", after).events()
		if err != nil || !bytes.Equal(encoded(t, watched), want) {
			t.Errorf("watched after %d: %d of %d events, %v", after, len(watched), len(original), err)
		}
		again := request("t1", "all_items")
		again.AfterSequence = after
		stream := w.run(again)
		if accepted, err := stream.accepted(); err != nil || !accepted.GetAttached() {
			t.Fatalf("accepted = %v, %v", accepted, err)
		}
		if rerun, err := stream.events(); err != nil || !bytes.Equal(encoded(t, rerun), want) {
			t.Errorf("run again after %d: %d of %d events, %v", after, len(rerun), len(original), err)
		}
	}
}

func TestStreamsAttachedWhileTheTurnRunsSeeTheSame(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := request("t1", "flood", "FAKE_CODEX_EVENTS=1000", "FAKE_CODEX_BYTES=4096")
	first := w.run(r)
	if _, err := first.accepted(); err != nil {
		t.Fatal(err)
	}
	const streams = 4
	var all [streams][]*orchestratorv1.TurnEvent
	var group sync.WaitGroup
	for i := range streams {
		stream := w.watch("t1", uint64(i))
		group.Go(func() {
			events, err := stream.events()
			if err != nil {
				t.Error(err)
			}
			all[i] = events
		})
	}
	original, err := first.events()
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if finished := w.checkEvents("t1", 0, original); outcome(finished) != "SUCCEEDED" {
		t.Errorf("outcome %v", finished)
	}
	for i := range streams {
		if !bytes.Equal(encoded(t, all[i]), encoded(t, original[i:])) {
			t.Errorf("stream %d saw %d of %d events", i, len(all[i]), len(original)-i)
		}
	}
}

func TestSlowAndClosedStreamsDoNotHoldTheTurnUp(t *testing.T) {
	t.Parallel()
	w := start(t)
	stuck := w.run(request("t1", "flood", "FAKE_CODEX_EVENTS=2000", "FAKE_CODEX_BYTES=4096"))
	if _, err := stuck.accepted(); err != nil { // and reads no further
		t.Fatal(err)
	}
	closed := w.watch("t1", 0)
	if _, err := closed.accepted(); err != nil {
		t.Fatal(err)
	}
	closed.stop()
	eventually(t, "the turn ended", func() bool {
		return w.turn("t1").GetState() == orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
	})
	events, err := stuck.events()
	if err != nil {
		t.Fatal(err)
	}
	w.checkEvents("t1", 0, events)
	if len(events) < 2000 {
		t.Errorf("%d events", len(events))
	}
}

func TestTurnGoesOnWhenItsOnlyStreamIsClosed(t *testing.T) {
	t.Parallel()
	w := start(t)
	stream := w.run(request("t1", "live_two_events_long_delay"))
	if _, err := stream.accepted(); err != nil {
		t.Fatal(err)
	}
	stream.stop()
	eventually(t, "the turn ended", func() bool {
		return w.turn("t1").GetState() == orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
	})
}

func TestSessionsRunAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	var group sync.WaitGroup
	for i := range 8 {
		id := fmt.Sprintf("t%d", i)
		group.Go(func() {
			if _, finished := w.finish(request(id, "slow", "FAKE_CODEX_DELAY=20")); outcome(finished) != "SUCCEEDED" {
				t.Errorf("%s: %v", id, finished)
			}
		})
	}
	group.Wait()
}

func TestLongAnswerArrivesWhole(t *testing.T) {
	t.Parallel()
	w := start(t)
	events, finished := w.finish(request("t1", "huge_line", "FAKE_CODEX_BYTES=1500000"))
	var answer strings.Builder
	for _, event := range events {
		if event.GetItemCompleted().GetItem().GetId() == finished.GetAnswerItemId() {
			answer.WriteString(event.GetText())
		}
	}
	if answer.Len() != 1_500_000 || !finished.GetFinalTextTruncated() || len(finished.GetFinalText()) != 64<<10 ||
		!strings.HasPrefix(answer.String(), finished.GetFinalText()) {
		t.Errorf("answer of %d bytes, final text of %d, truncated %v", answer.Len(), len(finished.GetFinalText()), finished.GetFinalTextTruncated())
	}
}
