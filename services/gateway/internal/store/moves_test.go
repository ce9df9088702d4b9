package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"telecodex.dev/services/gateway/internal/store"
)

func TestASessionMovesWhenItIsIdleAndAsItWasTaken(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"), prompt(3, "c"))
		run := func(id int64) {
			t.Helper()
			d.must(d.Assign(ctx, turnID(id, 1), worker, "j", ""))
			d.must(d.Accept(ctx, turnID(id, 1), "j"))
			d.must(d.SetThread(ctx, turnID(id, 1), "thread"))
		}
		end := func(id int64) {
			t.Helper()
			_, err := d.Finish(ctx, turnID(id, 1), store.Outcome{Name: "succeeded"}, nil)
			d.must(err)
		}
		move := store.Move{SessionID: "telegram:42", From: worker, To: "worker-2", ToJournal: "j2", ThreadID: "thread", LastTurnID: turnID(1, 1)}
		refused := func(why string, m store.Move) {
			t.Helper()
			state := (*store.StateError)(nil)
			if applied, err := d.MoveSession(ctx, m); applied || !errors.As(err, &state) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, %v", why, applied, err)
			}
		}
		run(1)
		refused("running turn", move)
		end(1)
		other := move
		other.ThreadID = "another"
		refused("thread", other)
		other = move
		other.From = "worker-3"
		refused("with worker", other)
		other = move
		other.SessionID = "telegram:1"
		refused("thread", other)
		other = move
		other.LastTurnID = turnID(9, 1)
		refused("turn", other)
		run(2)
		end(2) // since it was exported
		refused("export it again", move)

		move.LastTurnID = turnID(2, 1)
		for _, want := range []bool{true, false} {
			applied, err := d.MoveSession(ctx, move)
			d.must(err)
			if applied != want {
				t.Errorf("applied: %v", applied)
			}
		}
		d.reopen()
		state := (*store.StateError)(nil)
		if err := d.Assign(ctx, turnID(3, 1), worker, "j", ""); !errors.As(err, &state) {
			t.Errorf("what waited runs at the old worker: %v", err)
		}
		d.must(d.Assign(ctx, turnID(3, 1), "worker-2", "j2", ""))
		page, err := d.ListSessions(ctx, 10, "")
		d.must(err)
		want := []store.Session{{ID: "telegram:42", ChatID: 42, ThreadID: "thread", WorkerID: "worker-2", JournalID: "j2", OpenTurns: 1,
			MovedFrom: worker, MovedReason: store.Moved}}
		if diff := cmp.Diff(want, page, cmpopts.IgnoreFields(store.Session{}, "UpdatedAt", "MovedAt")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMetWorkersAreRemembered(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "b", ProcessID: "1", Starts: 1}))
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "a", ProcessID: "1"}))
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "b", ProcessID: "2", Starts: 4, Restarts: 3}))
		d.reopen()
		known, err := d.KnownWorkers(ctx)
		d.must(err)
		want := []store.KnownWorker{{WorkerID: "a", ProcessID: "1"}, {WorkerID: "b", ProcessID: "2", Starts: 4, Restarts: 3}}
		if diff := cmp.Diff(want, known); diff != "" {
			t.Error(diff)
		}
	})
}
