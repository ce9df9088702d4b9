package conformance

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestAcceptedComesFirstAndNamesTheWorker(t *testing.T) {
	t.Parallel()
	f := underTest.run(t, underTest.request(t, ""))
	worker := underTest.state(t)
	if f.accepted.GetAttached() {
		t.Error("a new turn says attached")
	}
	if f.accepted.GetWorkerId() != worker.GetWorkerId() || f.accepted.GetJournalId() != worker.GetJournalId() || f.accepted.GetJournalId() == "" {
		t.Errorf("accepted %v, WatchWorker %v", f.accepted, worker)
	}
	// The journal row is there from accepted on.
	if turn := underTest.get(t, f.turnID); turn.GetTurnId() != f.turnID {
		t.Errorf("GetTurn says %v", turn)
	}
	f.rest()
}

// The streams of every scenario have the same shape; follow checks it event by
// event, rest at the end.
func TestEveryStreamIsGaplessAndEndsOnce(t *testing.T) {
	for _, scenario := range []string{
		"", "all_items", "garbage", "nul_invalid_utf8", "crash", "exit1_empty", "turn_failed", "error_then_ok",
		"completed_then_exit1", "stderr_flood", "flood", "other_thread",
	} {
		t.Run("scenario "+scenario, func(t *testing.T) {
			t.Parallel()
			f := underTest.run(t, underTest.request(t, scenario))
			events := f.rest()
			last := events[len(events)-1]
			turn := underTest.get(t, f.turnID)
			if !proto.Equal(turn.GetFinished(), last.GetFinished()) {
				t.Errorf("GetTurn says %v, the stream %v", turn.GetFinished(), last.GetFinished())
			}
			if turn.GetState() != last.GetFinished().GetState() || turn.GetLastSequence() != last.GetSequence() {
				t.Errorf("GetTurn says %v at %d, the stream %v at %d", turn.GetState(), turn.GetLastSequence(),
					last.GetFinished().GetState(), last.GetSequence())
			}
			if turn.GetFinishedAt() == nil || turn.GetCreatedAt() == nil || turn.GetStartedAt() == nil {
				t.Errorf("GetTurn lacks a time: %v", turn)
			}
		})
	}
}

func TestReplayFromEverySequenceEqualsTheOriginal(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "all_items")
	original := underTest.run(t, request).rest()
	last := uint64(len(original))
	for after := uint64(0); after < last; after++ {
		t.Run(fmt.Sprintf("after %d", after), func(t *testing.T) {
			equalEvents(t, "WatchTurn", original[after:], underTest.watch(t, request.GetTurnId(), after).rest())
			again := proto.CloneOf(request)
			again.AfterSequence = after
			f := underTest.run(t, again)
			if !f.accepted.GetAttached() {
				t.Error("RunTurn of a known turn does not say attached")
			}
			equalEvents(t, "RunTurn", original[after:], f.rest())
		})
	}
	for _, after := range []uint64{last, last + 1, 1 << 63} {
		t.Run(fmt.Sprintf("after %d there is nothing", after), func(t *testing.T) {
			if event := underTest.watch(t, request.GetTurnId(), after).next(); event != nil {
				t.Errorf("event %v", event)
			}
		})
	}
	underTest.wantStarts(t, request.GetTurnId(), 1)
}

func TestEveryFollowerOfARunningTurnSeesTheSame(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "paced", "FAKE_CODEX_EVENTS=50", "FAKE_CODEX_RATE=100")
	first := underTest.run(t, request)
	first.next()
	second := underTest.run(t, request)
	if !second.accepted.GetAttached() {
		t.Error("the second RunTurn does not say attached")
	}
	third := underTest.watch(t, request.GetTurnId(), 0)
	late := underTest.watch(t, request.GetTurnId(), 10)
	original := first.rest()
	if len(original) != 50+4 {
		t.Errorf("%d events", len(original))
	}
	equalEvents(t, "RunTurn while it runs", original, second.rest())
	equalEvents(t, "WatchTurn while it runs", original, third.rest())
	equalEvents(t, "WatchTurn from the middle", original[10:], late.rest())
	underTest.wantStarts(t, request.GetTurnId(), 1)
}

// A client whose stream is cut at every sequence number of a running turn sees
// each event exactly once, in order: follow checks that they are gapless.
func TestAStreamThatIsCutAtEverySequenceLosesNothing(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{"paced", "all_items"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, scenario, "FAKE_CODEX_EVENTS=30", "FAKE_CODEX_RATE=100")
			var seen []*orchestratorv1.TurnEvent
			for f := underTest.run(t, request); ; f = underTest.watch(t, request.GetTurnId(), uint64(len(seen))) {
				event := f.next()
				if event == nil {
					t.Fatalf("the stream ended after %d events", len(seen))
				}
				seen = append(seen, event)
				if event.GetFinished() != nil {
					break
				}
				f.close()
			}
			equalEvents(t, "in pieces", underTest.watch(t, request.GetTurnId(), 0).rest(), seen)
			underTest.wantStarts(t, request.GetTurnId(), 1)
		})
	}
}

func TestClosingTheStreamNeverCancels(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "turn_1s")
	f := underTest.run(t, request)
	f.next()
	f.close()
	events := underTest.watch(t, request.GetTurnId(), 0).rest()
	if state := events[len(events)-1].GetFinished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("finished as %v", state)
	}
}

// A stream that is closed between the request and accepted must neither lose the
// turn nor start it twice.
func TestClosingAtOnceLeavesATurnThatCanBeAttached(t *testing.T) {
	t.Parallel()
	for range 10 {
		request := underTest.request(t, "")
		underTest.runAndHangUp(t, request)
		events := underTest.run(t, request).rest()
		if state := events[len(events)-1].GetFinished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
			t.Errorf("finished as %v", state)
		}
		underTest.wantStarts(t, request.GetTurnId(), 1)
	}
}

// A turn goes on at full speed while a client does not read.
func TestSlowReaderDoesNotHoldTheTurnUp(t *testing.T) {
	t.Parallel()
	const events = 5_000
	request := underTest.request(t, "flood", fmt.Sprintf("FAKE_CODEX_EVENTS=%d", events), "FAKE_CODEX_BYTES=4096")
	slow := underTest.run(t, request)
	turn := underTest.ended(t, request.GetTurnId())
	if turn.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("ended as %v", turn.GetState())
	}
	if got := len(slow.rest()); got != events+4 {
		t.Errorf("%d events, want %d", got, events+4)
	}
}
