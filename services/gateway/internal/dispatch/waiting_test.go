package dispatch

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/rpc"
)

// unstartable makes Codex impossible to start while broken says so.
func unstartable(f *fakeWorker, broken *bool) {
	answer := f.script
	f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
		if *broken { // the worker's mu is held
			return ending(orchestratorv1.TurnState_TURN_STATE_FAILED, orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN)(in)
		}
		return answer(in)
	}
}

func TestOnSuccessATurnThatWasNotStartedIsTriedAgain(t *testing.T) {
	t.Parallel()
	f, broken := newWorker(t, "a"), true
	unstartable(f, &broken)
	w := newWorld(t, f)
	w.config.OnSuccess = true
	w.run()
	first := w.prompt("one")
	w.eventually("left", func() bool { return slices.Equal(w.details(), []string{cycle.CodexExecFailed}) })
	w.eventually("told", func() bool { return w.said(chat) == render.NotStarted() })
	equal(t, "state", w.trace(first).Update.State, store.Queued)

	// Who writes again has it tried at once, and is told of that message alone.
	second := w.prompt("two")
	w.eventually("tried again", func() bool { return len(w.trace(first).Turns) > 2 })
	w.eventually("the second is reported", func() bool { return slices.Equal(w.detailsOf(second), []string{cycle.CodexExecFailed}) })
	w.eventually("told", func() bool { return w.said(chat) == render.NotStarted() })

	f.set(func() { broken = false })
	turn := w.settled(first)
	equal(t, "outcome", turn.Outcome, "succeeded")
	equal(t, "prompt", f.request(turn.ID).GetPrompt(), "one")
	equal(t, "outcome", w.settled(second).Outcome, "succeeded")
	equal(t, "said", w.said(chat), "hi|hi")
	equal(t, "details", len(w.details()), 2)
}

func TestAPostponedTurnCanBeCancelled(t *testing.T) {
	t.Parallel()
	f, broken := newWorker(t, "a"), true
	unstartable(f, &broken)
	w := newWorld(t, f)
	w.config.OnSuccess, w.config.Notify = true, false
	w.run()
	u := w.prompt("one")
	w.eventually("postponed", func() bool { return len(w.trace(u).Turns) > 1 && w.trace(u).Update.State == store.Queued })
	w.send(chat, store.KindCancel, "")
	equal(t, "outcome", w.settled(u).Outcome, "cancelled")
	w.eventually("answered", func() bool { return w.said(chat) == render.Cancelled() })
}

func TestOnceTriesEveryUpdateOnceAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	f, broken := newWorker(t, "a"), true
	unstartable(f, &broken)
	w := newWorld(t, f)
	w.config.OnSuccess, w.config.Once = true, true
	w.config.Reports = cycle.NewTracker(w.reported, cycle.Options{OnSuccess: true})
	updates := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "one"},
		store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "two"}, store.NewUpdate{ChatID: 7, Kind: store.KindPrompt, Text: "three"})
	w.run()
	w.quiet()
	for i, u := range updates {
		equal(t, "state", w.trace(u).Update.State, store.Queued)
		equal(t, "tried", f.count("start "+w.turnID(u, 1)), []int{1, 0, 1}[i]) // nobody overtakes
		equal(t, "tried again", f.count("start "+w.turnID(u, 2)), 0)
	}
	r := w.report[0]
	equal(t, "skipped", r.GetAckSkippedCount(), int32(3))
	equal(t, "sent", r.GetSentCount(), int32(0))
	f.set(func() { broken = false })
	w.restart()
	for _, u := range updates {
		equal(t, "outcome", w.settled(u).Outcome, "succeeded")
	}
}

func TestWhoHasToWaitForAWorkerIsToldOnce(t *testing.T) {
	t.Parallel()
	for _, notify := range []bool{true, false} {
		gone := goneWorker(t, "a")
		w := newWorld(t, gone)
		w.config.Patience, w.config.Notify = 30*time.Millisecond, notify
		w.run()
		first := w.prompt("one")
		w.eventually("reported", func() bool { return len(w.detailsOf(first)) == 1 })
		w.restart()
		w.eventually("found to wait again", func() bool { return w.logs.FilterMessageSnippet("no progress").Len() > 1 })
		if told := w.said(chat); told != map[bool]string{true: render.WorkerAway(), false: ""}[notify] {
			t.Errorf("told %q", told) // also another process does not tell it again
		}
		second := w.prompt("two")
		w.eventually("reported", func() bool { return len(w.detailsOf(second)) == 1 })
		third := w.prompt("three") // the lane was reported before it came
		w.eventually("reported", func() bool { return len(w.detailsOf(third)) == 1 })
		gone.serve(t)
		equal(t, "outcome", w.settled(third).Outcome, "succeeded")
		said := strings.Split(w.said(chat), "|")
		notices := slices.DeleteFunc(slices.Clone(said), func(text string) bool { return text != render.WorkerAway() })
		equal(t, "notices", len(notices), map[bool]int{true: 2, false: 0}[notify])
		equal(t, "answers", len(said)-len(notices), 3)
	}
}

func TestAWorkerThatRefusesForLongIsReportedWithItsReason(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) {
		return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_UNAVAILABLE), false
	}
	w := newWorld(t, f)
	w.config.Patience = 30 * time.Millisecond
	w.run()
	w.met("a") // before that it is out of reach
	w.prompt("one")
	w.eventually("reported", func() bool { return len(w.details()) == 1 })
	equal(t, "message", w.report[0].GetErrors()[0], refusesMessage+"JOURNAL_UNAVAILABLE")
	f.set(func() { f.refuse = nil })
}

func TestARequestThatIsOfNoContractBreaksIt(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]error{
		"UNIMPLEMENTED":    status.Error(codes.Unimplemented, "unknown method RunTurn"),
		"INVALID_ARGUMENT": status.Error(codes.InvalidArgument, "no"),
		"a refused prompt": &rpc.Failure{Code: codes.InvalidArgument, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			Field: "prompt", Message: "prompt: must have at most 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newWorker(t, "a")
			f.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) { return said, false }
			w := newWorld(t, f).run()
			turn := w.settled(w.prompt("one"))
			equal(t, "code", turn.ErrorCode, cycle.CodexContract)
			told := render.Failure(turn.ErrorCode, nil)
			if name == "a refused prompt" {
				told = render.PromptRefused()
			}
			equal(t, "told", w.said(chat), told)
		})
	}
}

func TestAMethodThatIsUnknownOnlyNowLeavesATurnInDoubt(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	asked := 0
	f.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) {
		switch asked++; asked {
		case 1:
			return lost(), false
		case 2:
			return status.Error(codes.Unimplemented, "unknown method RunTurn"), false
		}
		return nil, false
	}
	w := newWorld(t, f).run()
	equal(t, "outcome", w.settled(w.prompt("one")).Outcome, "succeeded")
}

func TestSessionsWithoutWorkAreEvicted(t *testing.T) {
	t.Parallel()
	evicted := make(chan int64, 8)
	f := newWorker(t, "a")
	w := newWorld(t, f)
	w.config.SessionMax, w.config.Evicted = 1, func(chatID int64) { evicted <- chatID }
	w.run()
	first := w.settled(w.prompt("one"))
	w.settled(w.send(2, store.KindPrompt, "two"))
	equal(t, "evicted", <-evicted, int64(chat))
	w.eventually("the lanes are gone", func() bool { lanes, idle := w.manager.Held(); return lanes == 0 && idle == 1 })
	again := w.settled(w.prompt("three"))
	equal(t, "evicted", <-evicted, int64(2))
	equal(t, "thread", f.request(again.ID).GetThreadId(), first.ThreadID)
	if first.ThreadID == "" {
		t.Error("there is no thread to be resumed")
	}
}

func TestASessionThatIsWokenForNothingIsRememberedAsBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newWorker(t, "a")).run()
	u := w.prompt("one")
	w.settled(u)
	w.quiet()
	w.manager.Wake([]string{u.SessionID}, false)
	w.quiet()
	w.eventually("remembered", func() bool { lanes, idle := w.manager.Held(); return lanes == 0 && idle == 1 })
}

func TestASessionThatIsAskedAboutWhileItsTurnRunsIsNotWithoutWork(t *testing.T) {
	t.Parallel()
	posted := make(chan int64, 8)
	f := newWorker(t, "a")
	f.hold = holding
	w := newWorld(t, f)
	w.config.Posted = func(chatID int64) { posted <- chatID }
	w.run()
	u := w.prompt("one")
	w.eventually("running", func() bool { return w.trace(u).Update.State == store.Accepted })
	w.send(chat, store.KindStatus, "")
	<-posted
	if lanes, idle := w.manager.Held(); lanes != 1 || idle != 0 {
		t.Errorf("%d lanes have work, and %d sessions have none", lanes, idle)
	}
}

func TestASessionIsEvictedSomeTimeAfterItsLastTurn(t *testing.T) {
	t.Parallel()
	evicted := make(chan int64, 8)
	w := newWorld(t, newWorker(t, "a"))
	w.config.SessionIdle, w.config.Evicted = 20*time.Millisecond, func(chatID int64) { evicted <- chatID }
	w.run()
	w.settled(w.prompt("one"))
	equal(t, "evicted", <-evicted, int64(chat))
	w.quiet()
	if lanes, idle := w.manager.Held(); lanes != 0 || idle != 0 {
		t.Errorf("%d lanes and %d sessions are held", lanes, idle)
	}
	w.settled(w.send(chat, store.KindStatus, "")) // a command is remembered for as long
	equal(t, "evicted", <-evicted, int64(chat))
}

func (w *world) quiet() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.manager.Quiet(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func TestResidents(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	s := newResidents(2, 10*time.Second)
	s.add("a", 1, at(0))
	s.add("a:5", 1, at(1))
	s.add("a", 1, at(2)) // used again
	if gone := s.evict(at(2)); len(gone) > 0 {
		t.Errorf("evicted %v", gone)
	}
	s.add("b", 2, at(3)) // a:5 is the oldest; its chat has another session
	if gone := s.evict(at(3)); len(gone) > 0 || len(s.known) != 2 {
		t.Errorf("evicted %v of %v", gone, s.known)
	}
	if gone := s.evict(at(12)); !slices.Equal(gone, []int64{1}) {
		t.Errorf("evicted %v", gone)
	}
	s.remove("b") // it has work
	if gone := s.evict(at(99)); len(gone) > 0 || len(s.known)+len(s.chats)+s.order.Len() != 0 {
		t.Errorf("evicted %v, left %v", gone, s.known)
	}
}

func TestAnUnreachableWorkerIsReportedAndTheTurnRunsWhenItIsBack(t *testing.T) {
	t.Parallel()
	gone := goneWorker(t, "a")
	w := newWorld(t, gone)
	w.config.Patience = 30 * time.Millisecond
	w.run()
	first, second := w.prompt("one"), w.prompt("two")
	w.eventually("both reported", func() bool { return len(w.details()) == 2 })
	for _, code := range w.details() {
		equal(t, "code", code, cycle.CodexExecFailed)
	}
	equal(t, "state", w.trace(first).Update.State, store.Queued)
	gone.serve(t)
	equal(t, "outcome", w.settled(first).Outcome, "succeeded")
	equal(t, "outcome", w.settled(second).Outcome, "succeeded")
}

// Its id was on the disk too: to the gateway it is another worker.
func TestAWorkerThatLostItsDiskHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	f, other := idleWorker("a"), idleWorker("b")
	stop := f.serve(t)
	w := newWorld(t, f).run()
	const idle = 2
	for _, c := range []int64{chat, idle} {
		w.settled(w.send(c, store.KindPrompt, "first"))
		w.outbox(c)
	}
	f.set(func() { f.hold = holding })
	running := w.prompt("runs")
	w.eventually("accepted", func() bool { return w.trace(running).Update.State == store.Accepted })
	stop()
	// What is assigned to it before that is known may have run.
	w.eventually("its end is known", func() bool { _, ok := w.workers.Lookup("a"); return !ok })
	waiting := w.send(idle, store.KindPrompt, "waits")
	other.address = f.address
	other.serve(t)
	equal(t, "what ran is the person's to decide", w.settled(running).State, store.Interrupted)
	equal(t, "question", w.said(chat), render.InterruptedGone(0))
	turn := w.settled(waiting)
	equal(t, "outcome", turn.Outcome, "succeeded")
	equal(t, "worker", turn.WorkerID, "b")
	equal(t, "thread asked for", other.request(turn.ID).GetThreadId(), "")
	messages := w.outbox(idle)
	if len(messages) != 2 || messages[0].Text != render.WorkerGone() || messages[1].Text != "hi" {
		t.Errorf("messages = %+v", messages)
	}
	w.eventually("acknowledged", func() bool {
		left, err := w.store.Unacknowledged(t.Context())
		return err == nil && len(left) == 0
	})
}

// With its journal went the conversation, and maybe the files: who is asked is told
// so, since nothing else says it when the decision is carried out.
func TestAWorkerThatComesBackWithAnotherJournalIsToldOfWithTheQuestion(t *testing.T) {
	t.Parallel()
	f, again := idleWorker("a"), idleWorker("a")
	again.journal = "journal-a-2"
	stop := f.serve(t)
	w := newWorld(t, f).run()
	w.settled(w.prompt("first"))
	w.outbox(chat)
	f.set(func() { f.hold = holding })
	running := w.prompt("runs")
	w.eventually("accepted", func() bool { return w.trace(running).Update.State == store.Accepted })
	stop()
	again.address = f.address
	again.serve(t)
	equal(t, "state", w.settled(running).State, store.Interrupted)
	equal(t, "question", w.said(chat), render.InterruptedGone(0))
	if _, err := w.manager.Resolve(t.Context(), w.turnID(running, 1), store.Resume); err != nil {
		t.Fatal(err)
	}
	turn := w.settled(running)
	equal(t, "outcome", turn.Outcome, "succeeded")
	equal(t, "thread asked for", again.request(turn.ID).GetThreadId(), "")
	equal(t, "said", w.said(chat), "hi")
}
