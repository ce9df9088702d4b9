package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
)

func TestLaneIsLoadedWithItsSession(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		empty, err := d.Load(ctx, "telegram:42")
		d.must(err)
		if diff := cmp.Diff(store.Lane{}, empty); diff != "" {
			t.Error(diff)
		}
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "thread"))
		session, err := d.Session(ctx, "telegram:42")
		d.must(err)
		turn, _, err := d.Turn(ctx, turnID(1, 1))
		d.must(err)
		got, err := d.Load(ctx, "telegram:42")
		d.must(err)
		uncounted := session
		uncounted.OpenTurns = 0
		if diff := cmp.Diff(store.Lane{Found: true, Turn: turn, Session: uncounted}, got); diff != "" {
			t.Error(diff)
		}
		if session.ThreadID != "thread" || session.OpenTurns != 2 || turn.State != store.Assigned {
			t.Errorf("session = %+v, turn = %+v", session, turn)
		}
	})
}

func TestTheEndOfATurnSaysWhatItsLaneGoesOnWith(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		for _, id := range []int64{1, 1, 2} { // saying it again changes nothing
			next, err := d.Finish(ctx, turnID(id, 1), store.Outcome{Name: "succeeded"}, answer("done"))
			d.must(err)
			loaded, err := d.Load(ctx, "telegram:42")
			d.must(err)
			if diff := cmp.Diff(loaded, next); diff != "" {
				t.Errorf("after update %d: %s", id, diff)
			}
			if next.Found != (id == 1) || next.Found && (next.Turn.ID != turnID(2, 1) || next.Session.WorkerID != worker) {
				t.Errorf("after update %d: %+v", id, next)
			}
		}
	})
}
