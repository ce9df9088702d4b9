package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

func TestAPromptIsAnsweredAndTheWorkerIsToldThatItIsStored(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	u := w.prompt("hello")
	turn := w.settled(u)
	equal(t, "outcome", turn.Outcome, "succeeded")
	equal(t, "thread", turn.ThreadID, thread)
	equal(t, "usage", turn.Usage, store.Usage{InputTokens: 120, OutputTokens: 30})
	messages := w.outbox(chat)
	if len(messages) != 1 || messages[0].Text != "hi" || messages[0].Kind != store.Answer || messages[0].ReplyTo != u.MessageID {
		t.Errorf("messages = %+v", messages)
	}
	w.eventually("acknowledged", func() bool { return w.trace(u).Turns[0].Acknowledged })
	equal(t, "starts", f.count("start "+turn.ID), 1)
	request := f.request(turn.ID)
	equal(t, "session", request.GetSessionId(), "telegram:1000")
	equal(t, "journal", request.GetExpectedJournalId(), "journal-a")
	if err := w.manager.Quiet(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTurnsOfASessionRunInOrderAndInOneThread(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f)
	var updates []store.Update
	for i := range 5 {
		updates = append(updates, w.prompt(fmt.Sprint("prompt ", i)))
	}
	w.run()
	var starts []string
	for i, u := range updates {
		turn := w.settled(u)
		starts = append(starts, "start "+turn.ID)
		if got := f.request(turn.ID).GetThreadId(); (got == thread) != (i > 0) {
			t.Errorf("turn %d was asked to run in thread %q", i, got)
		}
		// The usage is cumulative: what the worker repeats costs nothing.
		equal(t, "input tokens", turn.Usage.InputTokens, map[bool]int64{true: 120}[i == 0])
	}
	started := slices.DeleteFunc(f.lines(), func(l string) bool { return !strings.HasPrefix(l, "start ") })
	if !slices.Equal(started, starts) {
		t.Errorf("started %v, want %v", started, starts)
	}
}

func TestSessionsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f)
	slow := w.send(1, store.KindPrompt, "slow")
	held := w.turnID(slow, 1)
	f.hold = func(turn string, _ uint64) bool { return turn == held }
	w.run()
	w.eventually("the slow one runs", func() bool { return f.count("start "+held) == 1 })
	for id := int64(2); id < 7; id++ {
		equal(t, "outcome", w.settled(w.send(id, store.KindPrompt, "quick")).Outcome, "succeeded")
	}
	equal(t, "slow one", w.trace(slow).Update.State, store.Accepted)
	w.eventually("something shows that the turn runs", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.typed > 0
	})
	f.set(func() { f.hold = nil })
	equal(t, "outcome", w.settled(slow).Outcome, "succeeded")
}

func TestAnAnswerOfMegabytesArrivesWhole(t *testing.T) {
	t.Parallel()
	var parts []string
	for i := range 80 {
		parts = append(parts, strings.Repeat(fmt.Sprintf("%07d\n", i), 8192))
	}
	f := newWorker(t, "a")
	f.script = answering(parts...)
	w := newWorld(t, f).run()
	w.settled(w.prompt("much"))
	messages := w.outbox(chat)
	if last := messages[len(messages)-1]; last.Document == nil || string(last.Document.Content) != strings.Join(parts, "") {
		t.Error("the document is not the whole answer")
	}
}

// TestEveryReasonIsActedUpon refuses the first RunTurn with each reason there is.
func TestEveryReasonIsActedUpon(t *testing.T) {
	t.Parallel()
	type expect struct {
		state   store.State
		outcome string
		code    string
		runs    int // RunTurn calls at the worker that refused
		starts  int // there
		alarm   bool
	}
	later := expect{store.Finished, "succeeded", "", 2, 1, false}
	refused := expect{store.Finished, "failed", cycle.CodexContract, 1, 0, false}
	alarm := expect{store.Finished, "succeeded", "", 1, 1, true} // under its next id
	table := map[diagnosticsv1.ErrorReason]expect{
		diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED:            later,
		diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:        refused,
		diagnosticsv1.ErrorReason_ERROR_REASON_UNSUPPORTED_CAPABILITY: refused,
		diagnosticsv1.ErrorReason_ERROR_REASON_TURN_ID_REUSED:         alarm,
		diagnosticsv1.ErrorReason_ERROR_REASON_SESSION_BUSY:           later,
		diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL:            later,
		diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING:        later,
		diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_UNAVAILABLE:    later,
		diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH:       {store.Interrupted, "interrupted", cycle.TurnInterrupted, 1, 0, false},
		diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN:           later,
		diagnosticsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED:        later,
		diagnosticsv1.ErrorReason_ERROR_REASON_CLIENT_LIMIT:           later,
	}
	f := newWorker(t, "a")
	done := map[string]bool{}
	f.refuse = func(in *orchestratorv1.RunTurnRequest) (error, bool) {
		reason := diagnosticsv1.ErrorReason(diagnosticsv1.ErrorReason_value[in.GetPrompt()])
		switch {
		case done[in.GetPrompt()]:
			return nil, false
		case reason == 0:
			done[in.GetPrompt()] = true
			return lost(), false
		}
		done[in.GetPrompt()] = true
		return refusal(reason), false
	}
	w := newWorld(t, f).run()
	values := diagnosticsv1.ErrorReason(0).Descriptor().Values()
	for i := range values.Len() {
		reason := diagnosticsv1.ErrorReason(values.Get(i).Number())
		t.Run(reason.String(), func(t *testing.T) {
			want, ok := table[reason]
			if !ok {
				t.Fatal("the table does not know this reason")
			}
			turn := w.settled(w.send(int64(1+i), store.KindPrompt, reason.String()))
			equal(t, "state", turn.State, want.state)
			equal(t, "outcome", turn.Outcome, want.outcome)
			equal(t, "code", turn.ErrorCode, want.code)
			equal(t, "calls", f.count("run "+turn.ID), want.runs)
			equal(t, "starts", f.count("start "+turn.ID), want.starts)
			alarms := w.logs.FilterMessageSnippet("should never happen").FilterField(zap.String("turn_id", strings.TrimSuffix(turn.ID, fmt.Sprint(turn.Attempt))+"1"))
			equal(t, "alarm", alarms.Len() > 0, want.alarm)
			session, err := w.store.Session(t.Context(), turn.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			if unpinned := session.WorkerID == ""; unpinned != (want.state == store.Interrupted) {
				t.Errorf("session is pinned to %q", session.WorkerID)
			}
		})
	}
}

func TestAFullWorkerIsLeftForANewSessionOnly(t *testing.T) {
	t.Parallel()
	a, b := newWorker(t, "a"), newWorker(t, "b")
	a.slots = 100 // the first choice
	w := newWorld(t, a, b).run()
	w.met("a", "b")
	equal(t, "first turn", w.settled(w.send(1, store.KindPrompt, "x")).WorkerID, "a")

	full := map[string]int{}
	a.set(func() {
		a.refuse = func(in *orchestratorv1.RunTurnRequest) (error, bool) {
			if full[in.GetTurnId()]++; full[in.GetTurnId()] < 2 {
				a.slots = 0
				return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL), false
			}
			return nil, false
		}
	})
	fresh := w.settled(w.send(2, store.KindPrompt, "new session"))
	equal(t, "new session", fresh.WorkerID, "b")
	a.set(func() { a.slots = 100 })
	pinned := w.send(1, store.KindPrompt, "session with a thread")
	w.eventually("refused", func() bool { return a.count("run "+w.turnID(pinned, 1)) > 0 })
	a.set(func() { a.slots = 100 })
	equal(t, "session with a thread", w.settled(pinned).WorkerID, "a")
}

func TestAnUnknownOutcomeIsWatchedAtTheSameWorker(t *testing.T) {
	t.Parallel()
	for name, journaled := range map[string]bool{"the turn was journaled": true, "the turn never arrived": false} {
		t.Run(name, func(t *testing.T) {
			a, b := newWorker(t, "a"), newWorker(t, "b")
			a.slots = 100
			first := true
			a.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) {
				if !first {
					return nil, false
				}
				first = false
				return lost(), journaled
			}
			w := newWorld(t, a, b).run()
			w.met("a", "b")
			turn := w.settled(w.prompt("hello"))
			equal(t, "outcome", turn.Outcome, "succeeded")
			equal(t, "starts at a", a.count("start "+turn.ID), 1)
			equal(t, "calls at b", len(b.lines()), 0)
			if a.count("watch "+turn.ID) == 0 {
				t.Error("the turn was not watched")
			}
		})
	}
}

// TestAStreamCutAtAnySequenceLosesNothing has one chat for each sequence at which
// the stream ends, and one for each that is left out.
func TestAStreamCutAtAnySequenceLosesNothing(t *testing.T) {
	t.Parallel()
	const events = 8
	f := newWorker(t, "a")
	f.script = answering("one ", "two ", "three ", "four ")
	struck := map[string]bool{}
	strike := func(turn, how string, sequence uint64) bool {
		if struck[turn] || f.turns[turn].request.GetPrompt() != fmt.Sprint(how, sequence) {
			return false
		}
		struck[turn] = true
		return true
	}
	f.skip = func(turn string, sequence uint64) bool { return strike(turn, "gap at ", sequence) }
	f.cut = func(turn string, sequence uint64) error {
		if strike(turn, "cut at ", sequence) {
			return lost()
		}
		return nil
	}
	w := newWorld(t, f).run()
	type sent struct {
		name   string
		chat   int64
		update store.Update
	}
	var all []sent
	for i := range int64(events) {
		for j, how := range []string{"cut at ", "gap at "} {
			s := sent{name: fmt.Sprint(how, i+1), chat: 1 + 2*i + int64(j)}
			s.update = w.send(s.chat, store.KindPrompt, s.name)
			all = append(all, s)
		}
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			turn := w.settled(s.update)
			equal(t, "outcome", turn.Outcome, "succeeded")
			equal(t, "starts", f.count("start "+turn.ID), 1)
			equal(t, "answer", w.said(s.chat), "one two three four")
			alarms := w.logs.FilterMessage("event out of sequence").FilterField(zap.String("turn_id", turn.ID)).Len()
			// The last event has no successor that would show the gap.
			equal(t, "alarmed", alarms > 0, strings.HasPrefix(s.name, "gap") && s.name != fmt.Sprint("gap at ", events))
		})
	}
}

// TestARestartedGatewayReplaysTheWholeTurn has one chat for each event before
// which the gateway ends.
func TestARestartedGatewayReplaysTheWholeTurn(t *testing.T) {
	t.Parallel()
	const events = 6
	f := newWorker(t, "a")
	f.script = answering("one ", "two")
	f.hold = func(turn string, sequence uint64) bool {
		return f.turns[turn].request.GetPrompt() == fmt.Sprint("held before ", sequence)
	}
	w := newWorld(t, f).run()
	var updates []store.Update
	for i := range int64(events) {
		updates = append(updates, w.send(1+i, store.KindPrompt, fmt.Sprint("held before ", i+1)))
	}
	for i, u := range updates {
		w.eventually("accepted", func() bool { return w.trace(u).Update.State == store.Accepted })
		w.eventually("thread stored", func() bool { return i == 0 || w.trace(u).Turns[0].ThreadID == thread })
	}
	w.restart()
	f.set(func() { f.hold = nil })
	for i, u := range updates {
		turn := w.settled(u)
		equal(t, "outcome", turn.Outcome, "succeeded")
		equal(t, "answer", w.said(int64(1+i)), "one two")
		equal(t, "starts", f.count("start "+turn.ID), 1)
		equal(t, "calls of RunTurn", f.count("run "+turn.ID), 1)
	}
}

func TestOutcomesAndWhatThePersonIsTold(t *testing.T) {
	t.Parallel()
	const failedState = orchestratorv1.TurnState_TURN_STATE_FAILED
	told := func(code string, cause orchestratorv1.FinishCause) string {
		return render.Failure(code, &orchestratorv1.FinishedError{Cause: cause})
	}
	table := []struct {
		name   string
		script func(*orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent
		code   string
		told   string
	}{
		{"spawn", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN), cycle.CodexExecFailed, told(cycle.CodexExecFailed, orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN)},
		{"exit", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT), cycle.CodexExecFailed, told(cycle.CodexExecFailed, orchestratorv1.FinishCause_FINISH_CAUSE_EXIT)},
		{"turn.failed", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED), cycle.CodexExecFailed, told(cycle.CodexExecFailed, orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED)},
		{"io", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_IO), cycle.CodexExecFailed, told(cycle.CodexExecFailed, orchestratorv1.FinishCause_FINISH_CAUSE_IO)},
		{"thread mismatch", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH), cycle.CodexInvalidAnswer, told(cycle.CodexInvalidAnswer, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH)},
		{"not resumable, though no thread was asked for", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE), cycle.CodexExecFailed, told(cycle.CodexExecFailed, orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE)},
		{"overall limit", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT), cycle.CodexTimeout, told(cycle.CodexTimeout, orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT)},
		{"no-event limit", ending(failedState, orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT), cycle.CodexTimeout, told(cycle.CodexTimeout, orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT)},
		{"a cause that this gateway does not know", ending(failedState, 1000), cycle.OrchestratorError, told(cycle.OrchestratorError, 1000)},
		{"no cause", ending(failedState, 0), cycle.OrchestratorError, told(cycle.OrchestratorError, 0)},
		{"cancelled", ending(orchestratorv1.TurnState_TURN_STATE_CANCELLED, orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED), cycle.TurnCancelled, ""},
		{"left in good order without a word", ending(orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, 0), "", ""},
	}
	for _, notify := range []bool{true, false} {
		f := newWorker(t, "a")
		f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
			for _, tt := range table {
				if tt.name == in.GetPrompt() {
					return tt.script(in)
				}
			}
			return nil
		}
		w := newWorld(t, f)
		w.config.Notify = notify
		w.run()
		for i, tt := range table {
			t.Run(fmt.Sprintf("%s, notify %v", tt.name, notify), func(t *testing.T) {
				u := w.send(int64(1+i), store.KindPrompt, tt.name)
				turn := w.settled(u)
				equal(t, "code", turn.ErrorCode, tt.code)
				told := tt.told
				if !notify {
					told = ""
				}
				equal(t, "told", w.said(int64(1+i)), told)
				if told == "" && tt.code != "" {
					w.eventually("reported", func() bool { return slices.Contains(w.detailsOf(u), tt.code) })
				}
			})
		}
	}
}

func TestOnceLeavesWhatCannotBeDone(t *testing.T) {
	t.Parallel()
	gone := goneWorker(t, "a")
	w := newWorld(t, gone)
	w.config.Patience, w.config.Once = 30*time.Millisecond, true
	w.run()
	u := w.prompt("one")
	w.send(chat, store.KindCancel, "")
	if err := w.manager.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := w.trace(u).Update.State; state != store.Queued && w.settled(u).Outcome != "cancelled" {
		t.Errorf("state = %v", state)
	}
}

func TestAnAcknowledgementThatFailsIsMadeLater(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.ackErr = errors.New("not now")
	w := newWorld(t, f).run()
	turn := w.settled(w.prompt("hello"))
	w.eventually("tried", func() bool { return f.count("ack "+turn.ID) > 0 })
	f.set(func() { f.ackErr = nil })
	w.restart()
	w.eventually("acknowledged", func() bool {
		left, err := w.store.Unacknowledged(context.Background())
		return err == nil && len(left) == 0
	})
}

func TestALostStoreEndsTheManager(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	if _, err := w.db.Acquire(t.Context(), store.Bot{ID: 7, Username: "b", Fingerprint: "f"}, nil); err != nil {
		t.Fatal(err)
	}
	w.manager.Wake([]string{"telegram:1000"}, true)
	// The new holder's update reaches the old one's lane.
	thief, err := w.db.Acquire(t.Context(), store.Bot{ID: 7, Username: "b", Fingerprint: "f"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.store = thief
	w.prompt("hello")
	stop := w.stop
	w.stop = nil
	w.eventually("ended", func() bool {
		w.manager.mu.Lock()
		defer w.manager.mu.Unlock()
		return len(w.manager.lanes) == 0 && len(w.manager.wanted) == 0
	})
	var fenced *store.FencedError
	if err := stop(); !errors.As(err, &fenced) {
		t.Errorf("Run = %v", err)
	}
}
