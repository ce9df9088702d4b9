package dispatch

import (
	"errors"
	"slices"
	"testing"
	"time"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

// pair is a world with two workers, of which the first is preferred, and what
// takes it away.
func pair(t *testing.T, lost time.Duration) (w *world, a, b *fakeWorker, away func()) {
	t.Helper()
	a, b = idleWorker("a"), newWorker(t, "b")
	away = a.serve(t)
	a.slots = 100
	w = newWorld(t, a, b)
	w.lost = lost
	w.run()
	w.met("a", "b")
	return w, a, b, away
}

func (w *world) met(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.eventually("worker "+id+" is met", func() bool { _, ok := w.workers.Lookup(id); return ok })
	}
}

func TestWhatWaitsForALostWorkerBeginsAnewElsewhere(t *testing.T) {
	w, a, b, away := pair(t, 50*time.Millisecond)
	equal(t, "worker", w.settled(w.prompt("first")).WorkerID, "a")
	w.outbox(chat)
	away()
	w.eventually("its end is known", func() bool { _, ok := w.workers.Lookup("a"); return !ok })
	turn := w.settled(w.prompt("second"))
	equal(t, "worker", turn.WorkerID, "b")
	equal(t, "thread asked for", b.request(turn.ID).GetThreadId(), "")
	messages := w.outbox(chat)
	if len(messages) != 2 || messages[0].Text != render.WorkerLost() || messages[1].Text != "hi" {
		t.Errorf("messages = %+v", messages)
	}
	page, err := w.store.ListSessions(t.Context(), 1, "")
	if err != nil || len(page) != 1 || page[0].MovedFrom != "a" || page[0].MovedReason != store.Lost || page[0].MovedAt.IsZero() {
		t.Errorf("sessions = %+v, %v", page, err)
	}
	a.serve(t)
	w.met("a")
	equal(t, "worker of the next turn", w.settled(w.prompt("third")).WorkerID, "b")
}

func TestALoneWorkerIsNeverLost(t *testing.T) {
	w, a, b, away := pair(t, time.Millisecond)
	w.settled(w.prompt("first"))
	away()
	b.set(func() { b.drains = true })
	w.eventually("none is left", func() bool { return !w.workers.Takes("") })
	second := w.prompt("second")
	w.eventually("it waits", func() bool { return w.logs.FilterMessageSnippet("lane").Len() > 20 })
	equal(t, "lost", w.workers.Lost("a"), false)
	a.serve(t)
	turn := w.settled(second)
	equal(t, "worker", turn.WorkerID, "a")
	equal(t, "thread asked for", a.request(turn.ID).GetThreadId(), thread)
}

// What ran at a lost worker is the person's to decide, whatever came of it there;
// and once the worker is back it does not go on.
func TestWhatRanAtALostWorkerIsInterruptedAndStopped(t *testing.T) {
	w, a, b, away := pair(t, 50*time.Millisecond)
	a.set(func() { a.hold = holding })
	running := w.prompt("runs")
	w.eventually("accepted", func() bool { return w.trace(running).Update.State == store.Accepted })
	away()
	equal(t, "state", w.settled(running).State, store.Interrupted)
	if messages := w.outbox(chat); len(messages) != 1 || messages[0].Text != render.InterruptedAway(0) {
		t.Errorf("messages = %+v", messages)
	}
	if _, err := w.manager.Resolve(t.Context(), w.turnID(running, 1), store.Again); err != nil {
		t.Fatal(err)
	}
	turn := w.settled(running)
	equal(t, "worker", turn.WorkerID, "b")
	equal(t, "outcome", turn.Outcome, "succeeded")
	equal(t, "starts", b.count("start "+turn.ID), 1)
	a.serve(t)
	w.eventually("acknowledged", func() bool { return a.count("ack "+w.turnID(running, 1)) == 1 })
	lines := a.lines()
	stopped, acked := slices.Index(lines, "cancel "+w.turnID(running, 1)), slices.Index(lines, "ack "+w.turnID(running, 1))
	if stopped < 0 || stopped > acked {
		t.Errorf("the worker was told %v", lines)
	}
}

// A RunTurn that nobody answered may have been heard.
func TestWhatMayHaveReachedALostWorkerIsInterruptedNotPlacedElsewhere(t *testing.T) {
	w, a, b, away := pair(t, 50*time.Millisecond)
	a.set(func() {
		a.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) { return lost(), true }
		a.hold = holding
		a.cut = func(string, uint64) error { return lost() }
	})
	doubtful := w.prompt("may run")
	w.eventually("the call was made", func() bool { return a.count("start "+w.turnID(doubtful, 1)) == 1 })
	away()
	equal(t, "state", w.settled(doubtful).State, store.Interrupted)
	equal(t, "runs elsewhere", len(b.lines()), 0)
}

func TestASessionOfADrainingWorkerWaitsIsToldAndMoves(t *testing.T) {
	w, a, b, _ := pair(t, 0)
	first := w.settled(w.prompt("first"))
	w.outbox(chat)
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	w.config.Patience = 30 * time.Millisecond
	w.run()
	w.met("a", "b")
	a.set(func() { a.drains = true })
	w.eventually("it drains", func() bool { return w.workers.Draining("a") })
	equal(t, "a new session's worker", w.settled(w.send(2, store.KindPrompt, "new")).WorkerID, "b")
	second := w.prompt("second")
	w.eventually("told", func() bool { return w.said(chat) == render.WorkerDraining() })
	equal(t, "state", w.trace(second).Update.State, store.Queued)

	move := store.Move{SessionID: first.SessionID, From: "a", To: "b", ToJournal: "journal-b", ThreadID: thread, LastTurnID: first.ID}
	for range 2 {
		if _, err := w.manager.Move(t.Context(), move); err != nil {
			t.Fatal(err)
		}
	}
	turn := w.settled(second)
	equal(t, "worker", turn.WorkerID, "b")
	equal(t, "thread asked for", b.request(turn.ID).GetThreadId(), thread)
	if text := w.said(chat); text != "hi" {
		t.Errorf("said %q", text)
	}
	var refused *store.StateError
	move.From, move.To, move.LastTurnID = "b", "a", first.ID // which is not of b
	if _, err := w.manager.Move(t.Context(), move); !errors.As(err, &refused) {
		t.Errorf("moved: %v", err)
	}
}

// Between the choice of a worker and the call it may have begun to drain.
func TestATurnThatIsRefusedByADrainingWorkerCanMoveToo(t *testing.T) {
	w, a, _, _ := pair(t, 0)
	first := w.settled(w.prompt("first"))
	a.set(func() {
		a.drains = true
		a.refuse = func(*orchestratorv1.RunTurnRequest) (error, bool) {
			return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING), false
		}
	})
	second := w.prompt("second")
	w.eventually("it waits at no worker", func() bool {
		applied, err := w.manager.Move(t.Context(), store.Move{SessionID: first.SessionID, From: "a", To: "b", ToJournal: "journal-b",
			ThreadID: thread, LastTurnID: first.ID})
		return applied && err == nil
	})
	equal(t, "worker", w.settled(second).WorkerID, "b")
}

// The move may be stored between two looks of a lane at a worker that is gone by the
// second one: the session is not given up then, and keeps its thread.
func TestASessionThatWasMovedFromAWorkerThatIsGoneKeepsItsThread(t *testing.T) {
	t.Parallel()
	b, c := newWorker(t, "b"), newWorker(t, "c")
	c.slots = 100 // who would be preferred
	w := newWorld(t, b, c)
	ctx := t.Context()
	first := w.prompt("first")
	id := w.turnID(first, 1)
	for _, step := range []func() error{
		func() error { return w.store.Assign(ctx, id, "a", "journal-a", "") },
		func() error { return w.store.Accept(ctx, id, "journal-a") },
		func() error { return w.store.SetThread(ctx, id, thread) },
		func() error { _, err := w.store.Finish(ctx, id, store.Outcome{Name: succeeded}, nil); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.met("b", "c")
	equal(t, "a is gone", w.workers.Gone("a"), true)
	in, err := w.store.Ingest(ctx, []store.NewUpdate{{UpdateID: w.nextID + 1, Kind: store.KindPrompt, State: store.Queued, Digest: "second",
		SessionID: first.SessionID, ChatID: chat, FromID: chat, Private: true, Text: "second", Date: time.Now()}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(w.manager, first.SessionID)
	defer r.release()
	if _, err := r.load(ctx); err != nil || r.held != "a" {
		t.Fatalf("held by %q, %v", r.held, err)
	}
	if _, err := w.store.MoveSession(ctx, store.Move{SessionID: first.SessionID, From: "a", To: "b", ToJournal: "journal-b", ThreadID: thread,
		LastTurnID: id}); err != nil {
		t.Fatal(err)
	}
	answer, err := r.find(ctx)
	if err != nil || len(answer) != 1 || answer[0].Kind != lane.Placed || r.held != "b" || r.place.Worker.ID != "b" {
		t.Fatalf("held by %q: %v, %v", r.held, answer, err)
	}
	r.release()
	w.manager.Wake([]string{first.SessionID}, true)
	turn := w.settled(in.New[0])
	equal(t, "worker", turn.WorkerID, "b")
	equal(t, "thread asked for", b.request(turn.ID).GetThreadId(), thread)
	if text := w.said(chat); text != "hi" {
		t.Errorf("said %q", text)
	}
}
