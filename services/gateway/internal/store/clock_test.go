package store_test

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
)

// A clock that is set back leaves times in the store that have not come yet.
func TestAClockThatIsSetBackLosesNothing(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		now := time.Now()
		stored := func(u store.NewUpdate) store.Ingested {
			in, err := d.Ingest(ctx, []store.NewUpdate{u}, now)
			d.must(err)
			return in
		}
		first, other := prompt(1, "runs"), prompt(2, "waits")
		first.Date, other.Date = now, now
		stored(first)
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.db.Shift(ctx, time.Hour))
		d.reopen()
		if in := stored(other); len(in.New) != 1 {
			t.Errorf("a new message: %+v", in)
		}
		if in := stored(first); len(in.Duplicates) != 1 {
			t.Errorf("a message that comes again: %+v", in)
		}
		d.must(d.Accept(ctx, turnID(1, 1), "j"))
		next, err := d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("one"))
		d.must(err)
		if next.Turn.ID != turnID(2, 1) {
			t.Errorf("the lane goes on with %+v", next)
		}
		if n, err := d.Prune(ctx, now, 1000); n != 0 || err != nil {
			t.Errorf("%d updates were removed, %v", n, err)
		}
		if sent := d.send(chat); len(sent) != 1 || d.state(1) != store.Delivered {
			t.Errorf("sent %q, then %s", sent, d.state(1))
		}
		d.must(d.Acknowledged(ctx, turnID(1, 1)))
	})
}
