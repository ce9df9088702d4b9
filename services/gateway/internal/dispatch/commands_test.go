package dispatch

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

// holding keeps turns running after their first event.
func holding(_ string, sequence uint64) bool { return sequence > 1 }

func TestCancelStopsTheRunningTurnOnly(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.hold = holding
	w := newWorld(t, f).run()
	first, second := w.prompt("one"), w.prompt("two")
	w.eventually("running", func() bool { return w.trace(first).Update.State == store.Accepted })
	command := w.send(chat, store.KindCancel, "")
	later := w.prompt("three")
	w.settled(command)
	equal(t, "first", w.settled(first).ErrorCode, cycle.TurnCancelled)
	equal(t, "told", w.said(chat), render.Cancelled())
	f.set(func() { f.hold = nil })
	equal(t, "second", w.settled(second).Outcome, "succeeded")
	equal(t, "sent after the command", w.settled(later).Outcome, "succeeded")
	equal(t, "reported", slices.Contains(w.detailsOf(first), cycle.TurnCancelled), true)
}

func TestCancelEndsATurnThatNoWorkerWasAskedToRun(t *testing.T) {
	t.Parallel()
	gone := goneWorker(t, "a")
	w := newWorld(t, gone).run()
	u := w.prompt("one")
	w.settled(w.send(chat, store.KindCancel, ""))
	equal(t, "outcome", w.settled(u).Outcome, "cancelled")
	gone.serve(t)
	equal(t, "next", w.settled(w.prompt("two")).Outcome, "succeeded")
	equal(t, "starts", gone.count("start "+w.turnID(u, 1)), 0)
}

func TestCancelWithoutATurnSaysSo(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	w.settled(w.send(chat, store.KindCancel, ""))
	equal(t, "told", w.said(chat), render.NothingRunning())
}

// TestCancelSurvivesARestart ends the gateway between a /cancel and its answer,
// with the worker out of reach, and before and after the turn has ended.
func TestCancelSurvivesARestart(t *testing.T) {
	t.Parallel()
	f := idleWorker("a")
	f.hold = holding
	stop := f.serve(t)
	w := newWorld(t, f).run()
	first, second := w.prompt("one"), w.prompt("two")
	w.eventually("running", func() bool { return w.trace(first).Update.State == store.Accepted })
	stop()
	w.eventually("lost", func() bool { _, ok := w.workers.Lookup("a"); return !ok })
	command := w.send(chat, store.KindCancel, "")
	w.eventually("taken up", func() bool { return w.manager.cancelWanted(first.Key) })
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	f.serve(t)
	w.run()
	equal(t, "first", w.settled(first).Outcome, "cancelled")
	w.settled(command)
	f.set(func() { f.hold = nil })
	equal(t, "second", w.settled(second).Outcome, "succeeded")
	equal(t, "cancelled turns", f.count("cancel "+w.turnID(second, 1)), 0)
}

// TestACancelThatWaitsEndsWithItsLane has the program end and the lane be left at
// once, which the race detector watches. That says nothing about any worker.
func TestACancelThatWaitsEndsWithItsLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for id := range int64(100) {
		u := store.Update{Key: store.Key{Generation: 1, UpdateID: id}, SessionID: "telegram:1000"}
		w.config.Reports.Begin(time.Now()).Fetched(cycle.Batch{Handed: []store.Update{u}})
		o := w.manager.ordered(store.Turn{Key: u.Key, SessionID: u.SessionID})
		var group sync.WaitGroup
		group.Go(func() { w.manager.awaitCancel(ctx, u, o) })
		group.Go(func() { w.manager.change(func() { w.manager.cancelLeft(u.SessionID) }) })
		group.Wait()
	}
	equal(t, "reports", len(w.details()), 0)
}

func TestNewBeginsAThreadInTheOrderOfTheLane(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f)
	before, fresh, after := w.prompt("one"), w.send(chat, store.KindNew, ""), w.prompt("two")
	w.run()
	w.settled(before)
	w.settled(fresh)
	turn := w.settled(after)
	equal(t, "thread asked for", f.request(turn.ID).GetThreadId(), "")
	equal(t, "told", w.said(chat), "hi|"+render.NewConversation()+"|hi")
}

func TestNewWithWordsRunsThemInTheNewThread(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f)
	before, fresh, after := w.prompt("one"), w.send(chat, store.KindNew, "do this"), w.prompt("two")
	w.run()
	w.settled(before)
	first, second := w.settled(fresh), w.settled(after)
	equal(t, "prompt", f.request(first.ID).GetPrompt(), "do this")
	equal(t, "thread asked for", f.request(first.ID).GetThreadId(), "")
	equal(t, "thread asked for by the next", f.request(second.ID).GetThreadId(), thread)
	equal(t, "told", w.said(chat), "hi|hi|hi")
}

func TestAnInterruptedTurnWaitsForADecision(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		choice   string
		attempts int
		prompt   string // of the next attempt
		said     string
	}{
		{store.Again, 2, "the task", "It runs again from its beginning."},
		{store.Resume, 2, resumeBegins + "the task", "Codex looks at what was done and goes on."},
		{store.Drop, 1, "", "It is dropped."},
	} {
		t.Run(tt.choice, func(t *testing.T) {
			f := newWorker(t, "a")
			w := newWorld(t, f).run()
			w.settled(w.prompt("first")) // the session has a thread
			w.outbox(chat)
			f.set(func() { f.script = lostTurn })
			u := w.prompt("the task")
			equal(t, "state", w.settled(u).State, store.Interrupted)
			messages := w.outbox(chat)
			if len(messages) != 1 || messages[0].Kind != store.Question || !strings.Contains(string(messages[0].Markup), "resume:"+w.turnID(u, 1)) {
				t.Errorf("messages = %+v", messages)
			}
			w.eventually("reported", func() bool { return slices.Contains(w.detailsOf(u), cycle.TurnInterrupted) })
			f.set(func() { f.script = answering("done") })
			equal(t, "a later message goes on", w.settled(w.prompt("third")).Outcome, "succeeded")

			// Nobody decides for another chat.
			stranger := w.sendAll(store.NewUpdate{ChatID: 2, Kind: store.KindResolve, Text: tt.choice, TurnID: w.turnID(u, 1)})[0]
			w.settled(stranger)
			equal(t, "stranger is told", w.said(2), render.NothingInterrupted())
			equal(t, "attempts", len(w.trace(u).Turns), 1)

			w.outbox(chat)
			w.settled(w.send(chat, store.KindResolve, tt.choice))
			w.eventually("decided", func() bool { return w.trace(u).Turns[0].Resolution == tt.choice })
			again := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindResolve, Text: store.Drop, TurnID: w.turnID(u, 1), CallbackID: "press"})[0]
			w.settled(again)
			if tt.attempts > 1 {
				w.eventually("second attempt ends", func() bool { tr := w.trace(u); return len(tr.Turns) == 2 && tr.Turns[1].Outcome != "" })
				request := f.request(w.turnID(u, 2))
				if !strings.HasPrefix(request.GetPrompt(), tt.prompt) || request.GetThreadId() != thread {
					t.Errorf("prompt %q in thread %q", request.GetPrompt(), request.GetThreadId())
				}
			}
			equal(t, "attempts", len(w.trace(u).Turns), tt.attempts)
			if !strings.HasPrefix(w.said(chat), tt.said) {
				t.Errorf("told something else than %q", tt.said)
			}
			if err := w.manager.Quiet(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.button) != 1 || w.button[0] != "That was decided before. "+tt.said {
				t.Errorf("the button says %q", w.button)
			}
		})
	}
}

// TestADecisionDoesNotOvertakeTheRunningTurn decides about an older turn while a
// newer one runs, and ends the gateway in between.
func TestADecisionDoesNotOvertakeTheRunningTurn(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.script = ending(orchestratorv1.TurnState_TURN_STATE_INTERRUPTED, orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST)
	w := newWorld(t, f).run()
	older := w.prompt("one")
	equal(t, "state", w.settled(older).State, store.Interrupted)
	f.set(func() { f.script, f.hold = answering("done"), holding })
	newer := w.prompt("two")
	w.eventually("running", func() bool { return w.trace(newer).Update.State == store.Accepted })
	w.settled(w.send(chat, store.KindResolve, store.Again))
	w.restart()
	w.eventually("watched again", func() bool { return f.count("watch "+w.turnID(newer, 1)) > 0 })
	f.set(func() { f.hold = nil })
	equal(t, "newer", w.settled(newer).Outcome, "succeeded")
	w.eventually("run again", func() bool { return w.trace(older).Update.State == store.Finished })
	equal(t, "starts", f.count("start "+w.turnID(older, 2)), 1)
}

func TestAPressedButtonHoldsNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	telegram, pressed := make(chan struct{}), make(chan struct{})
	w.config.Pressed = func(context.Context, string, string) error { close(pressed); <-telegram; return nil }
	w.run()
	press := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindResolve, Text: store.Drop, CallbackID: "press"})[0]
	<-pressed
	w.settled(w.send(chat, store.KindHelp, ""))
	w.outbox(chat)
	equal(t, "settled before Telegram has answered", w.trace(press).Update.SettledAt.IsZero(), true)
	close(telegram)
	w.settled(press)
	equal(t, "messages", len(w.outbox(chat)), 0)
}

// Telegram takes the answer to a press for 150 seconds; a gateway may have been away
// for longer.
func TestAPressThatIsTooOldIsAnsweredWithAMessage(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.script = lostTurn
	w := newWorld(t, f)
	pressed := make(chan struct{})
	w.config.Pressed = func(ctx context.Context, _, _ string) error {
		close(pressed)
		<-ctx.Done() // the gateway ends meanwhile
		return ctx.Err()
	}
	w.run()
	u := w.prompt("the task")
	equal(t, "state", w.settled(u).State, store.Interrupted)
	w.outbox(chat)
	press := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindResolve, Text: store.Drop, TurnID: w.turnID(u, 1), CallbackID: "press"})[0]
	<-pressed
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	equal(t, "decided", w.trace(u).Turns[0].Resolution, store.Drop)
	w.config.Pressed = func(context.Context, string, string) error { return errors.New("query is too old") }
	w.run()
	w.eventually("told", func() bool { return w.trace(press).Update.State == store.Finished })
	messages := w.outbox(chat)
	if len(messages) != 1 || messages[0].Kind != store.Reply || messages[0].ReplyTo != press.MessageID ||
		!strings.HasPrefix(messages[0].Text, "That was decided before.") {
		t.Errorf("messages = %+v", messages)
	}
	w.settled(press)
}

func TestResumeRepeatsTheTaskOnce(t *testing.T) {
	t.Parallel()
	first := resumePrompt(store.Turn{Prompt: "the task"})
	if !strings.HasSuffix(first, "\n\nthe task") {
		t.Errorf("%q", first)
	}
	if again := resumePrompt(store.Turn{Prompt: first}); again != first {
		t.Errorf("resumed twice: %q", again)
	}
}

func TestStatusAndHelpAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	f.hold = holding
	w := newWorld(t, f).run()
	u := w.prompt("one")
	w.prompt("two")
	w.eventually("thread stored", func() bool { tr := w.trace(u); return len(tr.Turns) == 1 && tr.Turns[0].ThreadID != "" })
	w.settled(w.send(chat, store.KindStatus, ""))
	w.settled(w.send(chat, store.KindHelp, ""))
	said := w.said(chat)
	for _, want := range []string{"Running for ", "1 message waits.", "Codex thread: " + thread, "/cancel - stop what is running"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
}

func TestEchoesNeedNoWorkerAndLeaveStoredTurnsAlone(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t)
	queued := w.prompt("for Codex")
	w.run()
	u := w.send(chat, store.KindEcho, "hello id=4")
	w.settled(u)
	messages := w.outbox(chat)
	if len(messages) != 1 || messages[0].Text != "echo: hello id=4" || messages[0].Kind != store.Answer || messages[0].ReplyTo != u.MessageID {
		t.Errorf("messages = %+v", messages)
	}
	if err := w.manager.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "state", w.trace(queued).Update.State, store.Queued)

	w.addrs = []string{f.address} // the codex mode comes back
	w.restart()
	equal(t, "outcome", w.settled(queued).Outcome, "succeeded")
}

// TestAnotherWorkingDirIsForTheTurnsToCome has the gateway end after the worker
// has journaled a turn and before that is stored, and start with another setting.
func TestAnotherWorkingDirIsForTheTurnsToCome(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f)
	u := w.prompt("one")
	id := w.turnID(u, 1)
	if err := w.store.Assign(t.Context(), id, "a", "journal-a", "/before"); err != nil {
		t.Fatal(err)
	}
	f.set(func() {
		f.start(&orchestratorv1.RunTurnRequest{TurnId: id, SessionId: u.SessionID, Prompt: "one", WorkingDir: "/before"})
	})
	w.config.Turn.WorkingDir = "/after"
	w.run()
	equal(t, "outcome", w.settled(u).Outcome, "succeeded")
	next := w.settled(w.prompt("two"))
	equal(t, "next", next.Outcome, "succeeded")
	equal(t, "works in", f.request(next.ID).GetWorkingDir(), "/after")
}

// TestATurnThatGetsNowhereIsTriedLessAndLessAndReported has streams that open and
// break, and a store that takes everything but the outcome.
func TestATurnThatGetsNowhereIsTriedLessAndLessAndReported(t *testing.T) {
	t.Parallel()
	for name, once := range map[string]bool{"and waited for": false, "and left": true} {
		t.Run("broken streams, "+name, func(t *testing.T) {
			f := newWorker(t, "a")
			f.cut = func(_ string, sequence uint64) error {
				if sequence > 2 {
					return lost()
				}
				return nil
			}
			w := newWorld(t, f)
			w.getsNowhere(t, f, once, func() { f.set(func() { f.cut = nil }) })
		})
		t.Run("broken store, "+name, func(t *testing.T) {
			f := newWorker(t, "a")
			w := newWorld(t, f)
			w.sql(t, "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(FAIL, 'full'); END")
			w.getsNowhere(t, f, once, func() { w.sql(t, "DROP TRIGGER full") })
		})
	}
}

func (w *world) getsNowhere(t *testing.T, f *fakeWorker, once bool, repair func()) {
	w.config.Patience, w.config.Once = 300*time.Millisecond, once
	u := w.prompt("one")
	w.run()
	if once {
		if err := w.manager.Quiet(t.Context()); err != nil {
			t.Fatal(err)
		}
	} else {
		w.eventually("reported", func() bool { return len(w.detailsOf(u)) == 1 })
	}
	if n := f.count("watch " + w.turnID(u, 1)); n > 12 {
		t.Errorf("watched %d times", n)
	}
	repair()
	if once {
		w.config.Patience = time.Minute // a machine that is busy takes its time to reach the worker
		w.restart()
	}
	equal(t, "outcome", w.settled(u).Outcome, "succeeded")
	equal(t, "starts", f.count("start "+w.turnID(u, 1)), 1)
}

// sql changes the store's database behind its back, and waits for the store's own
// writes as another process would.
func (w *world) sql(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", w.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestWakeUpsAreNotLost(t *testing.T) {
	t.Parallel()
	f := newWorker(t, "a")
	w := newWorld(t, f).run()
	deadline := time.Now().Add(time.Second)
	for i := 0; i < 100 && time.Now().Before(deadline); i++ {
		// The lane is on its way out when the next update comes.
		equal(t, "outcome", w.settled(w.prompt("again")).Outcome, "succeeded")
	}
}
