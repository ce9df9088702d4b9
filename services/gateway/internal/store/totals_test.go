package store_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

func (d *desk) tally() store.Tally {
	d.t.Helper()
	v, err := d.Survey(d.t.Context())
	d.must(err)
	return v.Tally
}

func (d *desk) wantTally(what string, want store.Tally) {
	d.t.Helper()
	if diff := cmp.Diff(want, d.tally()); diff != "" {
		d.t.Errorf("%s: %s", what, diff)
	}
	if lost := d.tally().Lost(); lost != 0 {
		d.t.Errorf("%s: %d updates are lost", what, lost)
	}
}

func TestTallyFollowsEveryUpdateToItsEnd(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		refused := prompt(3, "from a stranger")
		refused.State, refused.Reason = store.Dropped, "not allowed"
		d.ingest(prompt(1, "a"), prompt(2, "b"), refused, command(4, store.KindStatus))
		d.wantTally("stored", store.Tally{Accepted: 4, Dropped: 1, Pending: 3})
		d.ingest(prompt(1, "a")) // Telegram sends it again
		d.wantTally("sent again", store.Tally{Accepted: 4, Dropped: 1, Pending: 3})
		d.must(d.SettleCommand(ctx, key(4), false, nil))
		d.wantTally("a command without an answer", store.Tally{Accepted: 4, Answered: 1, Dropped: 1, Pending: 2})
		d.must(d.step(ctx, "assign", 1))
		d.must(d.step(ctx, "interrupt", 1))
		d.wantTally("interrupted", store.Tally{Accepted: 4, Answered: 1, Dropped: 1, Interrupted: 1, Pending: 1})
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		d.must(second(d.Finish(ctx, turnID(2, 1), store.Outcome{Name: "succeeded"}, answer("b"))))
		d.wantTally("its answer is not sent", store.Tally{Accepted: 4, Answered: 1, Dropped: 1, Interrupted: 1, Pending: 1})
		d.sendAll()
		d.wantTally("answered", store.Tally{Accepted: 4, Answered: 2, Dropped: 1, Interrupted: 1})
		d.must(second(d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Again})))
		d.wantTally("run again", store.Tally{Accepted: 4, Answered: 2, Dropped: 1, Pending: 1})
		d.must(d.Assign(ctx, turnID(1, 2), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(1, 2), false, store.Outcome{Name: "interrupted"}, nil))
		d.must(second(d.Resolve(ctx, turnID(1, 2), store.Decision{Choice: store.Drop})))
		end := store.Tally{Accepted: 4, Answered: 2, Dropped: 2}
		d.wantTally("dropped by decision", end)
		d.reopen()
		d.wantTally("after a restart", end)
		for _, id := range []string{turnID(1, 1), turnID(1, 2), turnID(2, 1)} {
			d.must(d.Acknowledged(ctx, id))
		}
		if n, err := d.Prune(ctx, time.Now().Add(2*store.KeepFor), 1000); n != 4 || err != nil {
			t.Fatalf("Prune() = %d, %v", n, err)
		}
		d.wantTally("pruned", end)
	})
}

// What the law is for: work that is in the store and that nothing finds any more.
func TestTallyShowsWhatIsLost(t *testing.T) {
	d := newDesk(t, sqlite)
	d.ingest(prompt(1, "a"), prompt(2, "b"))
	raw, err := sqldb.Connect(t.Context(), d.path)
	d.must(err)
	defer raw.Close()
	for _, statement := range []string{`UPDATE updates SET work = '' WHERE update_id = 1`, `DELETE FROM updates WHERE update_id = 2`} {
		d.must(raw.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }))
	}
	if tally := d.tally(); tally.Lost() != 2 {
		t.Errorf("%d updates are lost of %+v", tally.Lost(), tally)
	}
}

func TestSurveyTellsTheAgeOfTheOldest(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		if v, err := d.Survey(ctx); err != nil || v.OldestQueued != 0 || v.OldestUnsent != 0 {
			t.Errorf("with nothing to do: %+v, %v", v, err)
		}
		for i, age := range []time.Duration{time.Hour, time.Minute} { // the older one first: ids grow
			u := prompt(int64(i+1), "x")
			u.SessionID = fmt.Sprint("telegram:", i+1)
			must(t)(d.Ingest(ctx, []store.NewUpdate{u}, time.Now().Add(-age)))
		}
		v, err := d.Survey(ctx)
		d.must(err)
		if v.OldestQueued < time.Hour || v.OldestQueued > time.Hour+time.Minute || v.OldestUnsent != 0 {
			t.Errorf("%+v", v)
		}
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("x"))))
		if v, err = d.Survey(ctx); err != nil || v.OldestQueued < time.Minute || v.OldestQueued > time.Hour || v.OldestUnsent > time.Minute {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A store of a program that kept no totals counts what it still has.
func TestTotalsOfAnOlderStore(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		rows := []string{`INSERT INTO bots VALUES (1000000, 'bot', 1, 0)`}
		for id, state := range []string{"QUEUED", "DELIVERED", "DELIVERED", "DROPPED", "SKIPPED", "SKIPPED"} {
			work := ""
			if state == "QUEUED" {
				work = "lane"
			}
			rows = append(rows, fmt.Sprintf(`INSERT INTO updates VALUES (1000000, %d, 1, 'prompt', '%s', '%s', '', '', 's', 1, 0, 1, 1, 1,
				'', '', '', 0, 0, 0, 0)`, id, state, work))
		}
		d := &desk{t: t, path: at(t)}
		d.older(1, rows...)
		d.db, d.Store = open(t, d.path)
		defer d.db.Close()
		d.wantTally("migrated", store.Tally{Accepted: 6, Answered: 2, Dropped: 3, Pending: 1})
	})
}
