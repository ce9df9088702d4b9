package store_test

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
)

// heldDesk is a store whose first turn was interrupted while the second message
// waited.
func heldDesk(t *testing.T, at place) *desk {
	t.Helper()
	d := newDesk(t, at)
	d.ingest(prompt(1, "a"), prompt(2, "b"))
	d.interrupt(turnID(1, 1))
	return d
}

func (d *desk) interrupt(turn string) {
	d.t.Helper()
	ctx := d.t.Context()
	d.must(d.Assign(ctx, turn, worker, "j", ""))
	d.must(d.Interrupt(ctx, turn, false, store.Outcome{Name: "interrupted"}, answer("what now?")))
}

// goesOnWith is the turn that the lane goes on with; "held" where it is held back.
func (d *desk) goesOnWith() string {
	d.t.Helper()
	l, err := d.Load(d.t.Context(), "telegram:42")
	d.must(err)
	switch {
	case !l.Found:
		return ""
	case !l.HeldSince.IsZero():
		return "held " + l.Turn.ID
	}
	return l.Turn.ID
}

func (d *desk) wantNext(want string) {
	d.t.Helper()
	if got := d.goesOnWith(); got != want {
		d.t.Errorf("the lane goes on with %q, want %q", got, want)
	}
}

func TestWhatWaitedForAnInterruptedTurnIsHeldBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(d *desk)
		want string
	}{
		{"until somebody decides", func(*desk) {}, "held " + turnID(2, 1)},
		{"a command changes nothing", func(d *desk) {
			d.ingest(command(3, store.KindStatus), command(4, store.KindCancel), command(5, store.KindHelp))
		}, "held " + turnID(2, 1)},
		{"nor does what is refused", func(d *desk) {
			refused := prompt(3, "c")
			refused.State = store.Dropped
			d.ingest(refused)
		}, "held " + turnID(2, 1)},
		{"nor what was stored before", func(d *desk) { d.ingest(prompt(2, "b")) }, "held " + turnID(2, 1)},
		{"nor another chat", func(d *desk) {
			other := prompt(3, "c")
			other.SessionID, other.ChatID = "telegram:43", 43
			d.ingest(other)
		}, "held " + turnID(2, 1)},
		{"another message lets it go on", func(d *desk) { d.ingest(command(3, store.KindStatus), prompt(4, "c")) }, turnID(2, 1)},
		{"and so does a wish for a new thread", func(d *desk) { d.ingest(command(3, store.KindNew)) }, turnID(2, 1)},
		{"time does", func(d *desk) { d.must(d.Park(d.t.Context(), "telegram:42")) }, turnID(2, 1)},
		{"dropping does", func(d *desk) {
			d.must(second(d.Resolve(d.t.Context(), turnID(1, 1), store.Decision{Choice: store.Drop})))
		}, turnID(2, 1)},
		{"what is to run again comes first", func(d *desk) {
			d.must(second(d.Resolve(d.t.Context(), turnID(1, 1), store.Decision{Choice: store.Again})))
		}, turnID(1, 2)},
		{"what goes on comes first, and may be interrupted again", func(d *desk) {
			d.must(second(d.Resolve(d.t.Context(), turnID(1, 1), store.Decision{Choice: store.Resume, Prompt: "go on"})))
			d.interrupt(turnID(1, 2))
		}, "held " + turnID(2, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, at place) {
				d := heldDesk(t, at)
				tt.then(d)
				d.wantNext(tt.want)
				d.reopen()
				d.wantNext(tt.want)
			})
		})
	}
}

// The time is measured from the notice, whatever is started anew.
func TestTheTimeOfTheNoticeIsStored(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := heldDesk(t, at)
		before, err := d.Load(t.Context(), "telegram:42")
		d.must(err)
		d.reopen()
		after, err := d.Load(t.Context(), "telegram:42")
		d.must(err)
		trace, err := d.Trace(t.Context(), 1, 0)
		d.must(err)
		if at := trace.Turns[0].EndedAt; !before.HeldSince.Equal(at) || !after.HeldSince.Equal(at) || time.Since(at) < 0 {
			t.Errorf("held since %v, then %v; the notice is of %v", before.HeldSince, after.HeldSince, at)
		}
	})
}

// What is parked can be decided about as ever, and a decision is not held back by
// a later interruption.
func TestAParkedTurnStillWaitsForADecision(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := heldDesk(t, at)
		ctx := t.Context()
		d.must(d.Park(ctx, "telegram:42"))
		d.must(d.Park(ctx, "telegram:42")) // again, after a crash
		d.ingest(prompt(3, "c"))
		d.interrupt(turnID(2, 1))
		d.wantNext("held " + turnID(3, 1))
		r, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Again})
		d.must(err)
		if !r.Applied || r.Next == nil {
			t.Errorf("resolved = %+v", r)
		}
		d.wantNext(turnID(1, 2))
		d.must(d.Assign(ctx, turnID(1, 2), worker, "j", ""))
		next, err := d.Finish(ctx, turnID(1, 2), store.Outcome{Name: "succeeded"}, nil)
		d.must(err)
		if next.Turn.ID != turnID(3, 1) || next.HeldSince.IsZero() {
			t.Errorf("then %+v", next)
		}
	})
}
