package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
)

func TestStatsCountWhatWaits(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"), prompt(3, "c"), prompt(4, "d"))
		for _, s := range []string{"assign", "interrupt"} {
			d.must(d.step(ctx, s, 1))
		}
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		got, err := d.Stats(ctx)
		d.must(err)
		want := store.Stats{Queued: 2, Running: 1, Interrupted: 1, Outbox: 1,
			Cursor: store.Cursor{Generation: 1, NextOffset: 5, CommittedAt: began.Add(time.Second)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSessionsArePaged(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		for id := int64(1); id <= 5; id++ {
			u := prompt(id, "x")
			u.SessionID = fmt.Sprintf("telegram:%d", id)
			d.ingest(u)
		}
		var ids []string
		for after := ""; ; {
			page, err := d.ListSessions(t.Context(), 2, after)
			d.must(err)
			if len(page) == 0 {
				break
			}
			for _, s := range page {
				ids = append(ids, s.ID)
				after = s.ID
			}
		}
		if diff := cmp.Diff([]string{"telegram:1", "telegram:2", "telegram:3", "telegram:4", "telegram:5"}, ids); diff != "" {
			t.Error(diff)
		}
		open, err := d.OpenSessions(t.Context())
		d.must(err)
		if diff := cmp.Diff(ids, open); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTraceShowsTheNewestGenerationUnlessToldOtherwise(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"))
		young := prompt(1, "b")
		young.Date = began.Add(time.Hour)
		d.ingest(young)
		for generation, want := range map[int64]string{0: "b", 1: "a", 2: "b"} {
			trace, err := d.Trace(t.Context(), 1, generation)
			d.must(err)
			if trace.Update.Text != want {
				t.Errorf("generation %d: %q", generation, trace.Update.Text)
			}
		}
		_, err := d.Trace(t.Context(), 1, 3)
		wantStateError(t, err)
	})
}

func TestPruneRemovesOnlyWhatWasSettledLongAgo(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "interrupted"))
		for _, s := range []string{"assign", "interrupt"} {
			d.must(d.step(ctx, s, 1))
		}
		var batch []store.NewUpdate
		for id := int64(2); id < 1302; id++ {
			u := prompt(id, "skipped")
			u.State, u.Kind = store.Skipped, ""
			batch = append(batch, u)
		}
		d.ingest(batch...)
		d.ingest(prompt(1302, "waits"))
		n, err := d.Prune(ctx, time.Now(), 5000)
		d.must(err)
		if n != 1300 {
			t.Errorf("%d updates were removed", n)
		}
		if d.state(1) != store.Interrupted || d.state(1302) != store.Queued {
			t.Errorf("states %s, %s", d.state(1), d.state(1302))
		}
		_, err = d.Trace(ctx, 2, 0)
		wantStateError(t, err)
		fresh := prompt(1303, "fresh")
		fresh.State = store.Skipped
		if _, err := d.Ingest(ctx, []store.NewUpdate{fresh}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if n, err = d.Prune(ctx, time.Now(), 5000); n != 0 || err != nil {
			t.Errorf("a second pass removed %d, %v", n, err)
		}
	})
}

func TestPruneKeepsTheNewestOnly(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "nobody has told its worker yet"))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("sent"))))
		d.sendAll()
		settled := time.Now() // update 1 is the oldest by far
		const count, keep = 330, 50
		for id := int64(2); id < count+2; id++ {
			u := prompt(id, "skipped")
			u.State, u.Kind = store.Skipped, ""
			_, err := d.Ingest(ctx, []store.NewUpdate{u}, settled.Add(time.Duration(id)*time.Second))
			d.must(err)
		}
		later := settled.Add(time.Hour)
		n, err := d.Prune(ctx, later, keep)
		d.must(err)
		if n != count-keep { // without the one that the worker was not told of
			t.Errorf("%d of %d updates were removed", n, count+1)
		}
		if d.state(1) != store.Delivered {
			t.Error("what the worker was not told of is gone")
		}
		d.must(d.Acknowledged(ctx, turnID(1, 1)))
		if n, err = d.Prune(ctx, later, keep); n != 1 || err != nil {
			t.Errorf("then %d were removed, %v", n, err)
		}
		// What Telegram sends again of what is gone is not taken for new.
		again := prompt(2, "skipped")
		in, err := d.Ingest(ctx, []store.NewUpdate{again}, later)
		d.must(err)
		if len(in.New) != 0 || len(in.Stale) != 1 {
			t.Errorf("an update that was removed, sent again: %+v", in)
		}
	})
}

func TestPruneKeepsWhatWaitsForADecision(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "x"))
		// Nothing but the decision is missing: the question was sent, the worker was told,
		// and the lane goes on.
		d.interrupt(turnID(1, 1))
		d.sendAll()
		d.must(d.Acknowledged(ctx, turnID(1, 1)))
		d.must(d.Park(ctx, "telegram:42"))
		late := time.Now().Add(2 * store.KeepFor)
		if n, err := d.Prune(ctx, late, 1000); n != 0 || err != nil {
			t.Errorf("%d were removed, %v", n, err)
		}
		d.must(second(d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop})))
		if n, err := d.Prune(ctx, late, 1000); n != 1 || err != nil {
			t.Errorf("once it was decided %d were removed, %v", n, err)
		}
	})
}
