package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

func TestThreadAndUsageBelongToTheSession(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"), command(3, store.KindNew), prompt(4, "c"))
		ctx := t.Context()
		run := func(id int64, thread string, total store.Usage) store.Usage {
			t.Helper()
			d.must(d.Assign(ctx, turnID(id, 1), worker, "j", ""))
			d.must(d.Accept(ctx, turnID(id, 1), "j"))
			d.must(d.SetThread(ctx, turnID(id, 1), thread))
			d.must(second(d.Finish(ctx, turnID(id, 1), store.Outcome{Name: "succeeded", Usage: &total}, nil)))
			trace, err := d.Trace(ctx, id, 1)
			d.must(err)
			return trace.Turns[0].Usage
		}
		if got := run(1, "thread-1", store.Usage{InputTokens: 100, OutputTokens: 10}); got.InputTokens != 100 || got.OutputTokens != 10 {
			t.Errorf("first turn used %+v", got)
		}
		if got := run(2, "thread-1", store.Usage{InputTokens: 250, OutputTokens: 15}); got.InputTokens != 150 || got.OutputTokens != 5 {
			t.Errorf("second turn used %+v", got)
		}
		head, _, err := d.Head(ctx, "telegram:42")
		d.must(err)
		if head.Kind != store.KindNew {
			t.Fatalf("head = %+v", head)
		}
		wantStateError(t, d.Assign(ctx, head.ID, worker, "", ""))
		d.must(d.SettleCommand(ctx, key(3), true, nil))
		sess, err := d.Session(ctx, "telegram:42")
		d.must(err)
		if diff := cmp.Diff(store.Session{ID: "telegram:42", ChatID: chat, OpenTurns: 1}, sess,
			cmpopts.IgnoreFields(store.Session{}, "UpdatedAt")); diff != "" {
			t.Error(diff)
		}
		if got := run(4, "thread-2", store.Usage{InputTokens: 30}); got.InputTokens != 30 {
			t.Errorf("turn of the new thread used %+v", got)
		}
	})
}
