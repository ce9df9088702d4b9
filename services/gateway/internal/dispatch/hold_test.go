package dispatch

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

var lostTurn = ending(orchestratorv1.TurnState_TURN_STATE_INTERRUPTED, orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST)

// heldWorld is a gateway whose first turn was interrupted, and did nothing, while
// two more messages waited; what runs from now on is answered.
func heldWorld(t *testing.T, once bool) (w *world, f *fakeWorker, first, second, third store.Update) {
	t.Helper()
	f = newWorker(t, "a")
	f.script = func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
		if in.GetPrompt() == "one" && strings.HasSuffix(in.GetTurnId(), "-1") {
			return lostTurn(in)
		}
		return answering("done: " + in.GetPrompt())(in)
	}
	w = newWorld(t, f)
	w.config.InterruptedWait, w.config.Once = time.Hour, once
	if once { // one that gives up gives a worker this long to be found
		w.config.Patience = 30 * time.Second
	}
	updates := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "one"},
		store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "two"}, store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "three"})
	w.run()
	first, second, third = updates[0], updates[1], updates[2]
	equal(t, "state", w.settled(first).State, store.Interrupted)
	w.eventually("what waits is reported", func() bool { return slices.Contains(w.detailsOf(third), cycle.TurnInterrupted) })
	equal(t, "told", w.said(chat), render.Interrupted(time.Hour))
	return w, f, first, second, third
}

func TestWhatWaitedIsHeldBackUntilItMayGoOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		then func(w *world, first store.Update)
		want []string // in this order
	}{
		"run again": {func(w *world, _ store.Update) { w.send(chat, store.KindResolve, store.Again) },
			[]string{"done: one", "done: two", "done: three"}},
		"resumed": {func(w *world, _ store.Update) { w.send(chat, store.KindResolve, store.Resume) },
			[]string{"done: " + resumeBegins + "one", "done: two", "done: three"}},
		"dropped": {func(w *world, _ store.Update) { w.send(chat, store.KindResolve, store.Drop) },
			[]string{"done: two", "done: three"}},
		"dropped by an operator": {func(w *world, first store.Update) {
			if _, err := w.manager.Resolve(w.t.Context(), w.turnID(first, 1), store.Drop); err != nil {
				w.t.Error(err)
			}
		}, []string{"done: two", "done: three"}},
		"another message": {func(w *world, _ store.Update) { w.prompt("four") }, []string{"done: two", "done: three", "done: four"}},
		"a new conversation": {func(w *world, _ store.Update) { w.send(chat, store.KindNew, "") },
			[]string{"done: two", "done: three", render.NewConversation()}},
		"one of them is cancelled, and the task run again": {func(w *world, _ store.Update) {
			w.settled(w.send(chat, store.KindCancel, ""))
			w.settled(w.send(chat, store.KindStatus, ""))
			w.send(chat, store.KindResolve, store.Again)
		}, []string{"done: one", "done: three"}},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", after a restart"}[restarted], func(t *testing.T) {
				t.Parallel()
				w, f, first, second, _ := heldWorld(t, false)
				if restarted {
					w.restart()
				}
				w.settled(w.send(chat, store.KindHelp, ""))
				equal(t, "waits", w.trace(second).Update.State, store.Queued)
				equal(t, "starts", f.count("start "+w.turnID(second, 1)), 0)
				w.outbox(chat)
				tt.then(w, first)
				w.quiet()
				var said []string
				for _, text := range strings.Split(w.said(chat), "|") {
					if strings.HasPrefix(text, "done") || text == render.NewConversation() {
						said = append(said, text)
					}
				}
				if !slices.Equal(said, tt.want) {
					t.Errorf("said %q, want %q", said, tt.want)
				}
			})
		}
	}
}

func TestStatusSaysWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	w, _, _, _, _ := heldWorld(t, false)
	w.settled(w.send(chat, store.KindStatus, ""))
	if said := w.said(chat); !strings.Contains(said, "2 messages wait.") || !strings.Contains(said, "What waits goes on once you have decided") {
		t.Errorf("/status is answered %q", said)
	}
}

func TestOneCycleDoesNotWaitForADecision(t *testing.T) {
	t.Parallel()
	w, f, _, second, third := heldWorld(t, true)
	w.quiet()
	equal(t, "stays", w.trace(third).Update.State, store.Queued)
	w.restart() // the next cycle
	w.quiet()
	equal(t, "starts", f.count("start "+w.turnID(second, 1)), 0)
	w.send(chat, store.KindResolve, store.Drop)
	equal(t, "outcome", w.settled(third).Outcome, "succeeded")
	w.quiet()
}

// TestTheTimeIsMeasuredFromTheNotice ends the gateway in between, and asks no
// worker: what matters is when the store is told that nothing is held back.
func TestTheTimeIsMeasuredFromTheNotice(t *testing.T) {
	t.Parallel()
	const wait = 10 * time.Minute
	for _, tt := range []struct {
		name       string
		wait       time.Duration
		away, goes time.Duration // when the gateway ends and starts again; 0: it does not
		parked     time.Duration
	}{
		{"while a gateway runs", wait, 0, 0, wait},
		{"over a restart", wait, 4 * time.Minute, 5 * time.Minute, wait},
		{"while none runs", wait, 4 * time.Minute, 25 * time.Minute, 25 * time.Minute},
		{"not at all", 0, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addrs, w.config.InterruptedWait = []string{"127.0.0.1:1"}, tt.wait
				updates := w.sendAll(store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "one"}, store.NewUpdate{ChatID: chat, Kind: store.KindPrompt, Text: "two"})
				began, turn := time.Now(), w.turnID(updates[0], 1)
				must(t, w.store.Assign(t.Context(), turn, "a", "j", ""))
				must(t, w.store.Interrupt(t.Context(), turn, false, store.Outcome{Name: "interrupted"}, nil))
				w.run()
				if tt.goes > 0 {
					time.Sleep(tt.away)
					must(t, w.halt())
					time.Sleep(tt.goes - tt.away)
					w.run()
				}
				for heldBack(t, w) {
					if time.Since(began) > time.Hour {
						t.Fatal("held back for ever")
					}
					time.Sleep(time.Second)
				}
				if parked := time.Since(began).Round(2 * time.Second); parked != tt.parked {
					t.Errorf("parked after %v, want %v", parked, tt.parked)
				}
				equal(t, "questions that changed", w.decided, 0)
				r, err := w.manager.Resolve(t.Context(), turn, store.Again) // the buttons stay valid
				must(t, err)
				equal(t, "decided", r.Applied, true)
				equal(t, "questions that changed", w.decided, 1)
				must(t, w.halt())
			})
		})
	}
}

// heldBack says whether the lane of the test's chat is held back.
func heldBack(t *testing.T, w *world) bool {
	t.Helper()
	synctest.Wait()
	l, err := w.store.Load(t.Context(), admission.SessionID(chat, 0))
	must(t, err)
	return !l.HeldSince.IsZero()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A clock that was set back does not make anybody wait longer.
func TestTheClockMayBeSetBack(t *testing.T) {
	t.Parallel()
	m := &Manager{Config: Config{InterruptedWait: time.Minute}}
	equal(t, "held for", m.heldFor(time.Now().Add(time.Hour)), time.Minute)
	equal(t, "held for", m.heldFor(time.Now().Add(-time.Hour)), time.Duration(0))
	equal(t, "held for", m.heldFor(time.Time{}), time.Duration(0))
}
