package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/sqldb"
)

// another is a database that another process has open.
func (d *desk) another() *store.DB {
	d.t.Helper()
	db, err := store.Open(d.t.Context(), d.path, zap.NewNop())
	d.must(err)
	d.t.Cleanup(func() { d.must(db.Close()) })
	return db
}

// awaiting is a challenger that goes on until it has the bot.
type awaiting struct {
	store   *store.Store
	err     error
	waiting chan struct{} // closed once it stands by
	done    chan struct{}
}

func await(ctx context.Context, db *store.DB, terms store.Terms) *awaiting {
	a := &awaiting{waiting: make(chan struct{}), done: make(chan struct{})}
	terms.Waiting = func() { close(a.waiting) }
	go func() {
		defer close(a.done)
		a.store, a.err = db.Await(ctx, bot, nil, terms)
	}()
	return a
}

func (a *awaiting) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func TestAReleasedBotIsTakenAtOnce(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"))
		next := await(t.Context(), d.another(), store.Terms{TTL: time.Hour})
		<-next.waiting
		d.must(d.Release(t.Context()))
		<-next.done
		d.must(next.err)
		var fenced *store.FencedError
		if err := d.Beat(t.Context()); !errors.As(err, &fenced) {
			t.Errorf("Beat() = %v", err)
		}
		if lane, err := next.store.Load(t.Context(), "telegram:42"); err != nil || lane.Turn.Prompt != "a" {
			t.Errorf("lane = %+v, %v", lane, err)
		}
	})
}

func TestANewBotIsAcquiredByOneOfThoseWhoStartAtOnce(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := &desk{t: t, path: at(t)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := make([]*awaiting, 4)
		for i := range all {
			all[i] = await(ctx, d.another(), store.Terms{TTL: time.Hour})
		}
		won := 0
		for _, a := range all {
			select {
			case <-a.waiting:
			case <-a.done:
				d.must(a.err)
				won++
			}
		}
		cancel()
		for _, a := range all {
			<-a.done
			if a.store != nil {
				d.must(a.store.Beat(t.Context()))
			}
		}
		if won != 1 {
			t.Errorf("%d have it", won)
		}
	})
}

// TestAHolderIsReplacedOnceItsBeatHasStoodStill is about a frozen gateway: it has
// the lock on the file, and no beat.
func TestAHolderIsReplacedOnceItsBeatHasStoodStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, sqlite)
		frozen := d.Store
		next := await(t.Context(), d.another(), store.Terms{})
		<-next.waiting
		for range 10 { // it lives
			time.Sleep(store.DefaultTTL - time.Second)
			d.must(frozen.Beat(t.Context()))
		}
		last := time.Now()
		if next.ended() {
			t.Fatal("a bot was taken from a holder that lives")
		}
		d.must(frozen.Hold(t.Context()))
		<-next.done
		d.must(next.err)
		if took := time.Since(last); took < store.DefaultTTL || took > store.DefaultTTL+2*time.Second {
			t.Errorf("taken over after %v", took)
		}
		var fenced *store.FencedError
		if err := frozen.Hold(t.Context()); !errors.As(err, &fenced) {
			t.Errorf("Hold() = %v", err)
		}
		if _, err := frozen.Ingest(t.Context(), []store.NewUpdate{prompt(1, "x")}, began); !errors.As(err, &fenced) {
			t.Errorf("Ingest() = %v", err)
		}

		// The frozen one has the lock, so that nothing but the beat speaks for its
		// successor, until it is gone and the successor has taken the lock.
		third := await(t.Context(), d.another(), store.Terms{})
		<-third.waiting
		d.must(next.store.Beat(t.Context()))
		d.must(d.db.Close())
		time.Sleep(time.Second)
		if third.ended() {
			t.Fatal("a free lock was taken for the death of a holder that never had it")
		}
		d.must(next.store.Beat(t.Context()))
		d.db = d.another() // for the end of the test
		last = time.Now()
		<-third.done
		d.must(third.err)
		if took := time.Since(last); took < store.DefaultTTL-time.Second {
			t.Errorf("taken over after %v", took)
		}
	})
}

// TestADeadHolderOfAFileIsReplacedWithinTwoSeconds has a holder die at any moment
// between two looks of its challenger. What it leaves is a lock that is free.
func TestADeadHolderOfAFileIsReplacedWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, moment := range []time.Duration{0, time.Millisecond, 250 * time.Millisecond, 499 * time.Millisecond} {
		t.Run(moment.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, sqlite)
				next := await(t.Context(), d.another(), store.Terms{})
				<-next.waiting
				time.Sleep(time.Second + moment)
				if next.ended() {
					t.Fatal("a bot was taken from a holder that lives")
				}
				died := time.Now()
				d.must(d.db.Close()) // nothing is released
				<-next.done
				d.must(next.err)
				if took := time.Since(died); took > 2*time.Second {
					t.Errorf("taken over after %v", took)
				}
				d.db = d.another() // for the end of the test
			})
		})
	}
}

func TestHoldWritesOnlyWhenItIsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, sqlite)
		old := d.Store
		thief, err := d.another().Acquire(t.Context(), bot, nil)
		d.must(err)
		// A challenger never takes a bot over that soon; so there is nothing to ask.
		time.Sleep(store.DefaultTTL/2 + time.Second)
		d.must(old.Hold(t.Context()))
		time.Sleep(store.DefaultTTL / 2)
		var fenced *store.FencedError
		if err := old.Hold(t.Context()); !errors.As(err, &fenced) {
			t.Errorf("Hold() = %v", err)
		}
		d.must(thief.Hold(t.Context()))
	})
}

func TestAnImpatientOneGivesUpOnlyWhereTheHolderLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, sqlite)
		first := await(t.Context(), d.another(), store.Terms{Impatient: true})
		<-first.waiting
		time.Sleep(store.DefaultTTL / 2)
		d.must(d.Beat(t.Context()))
		<-first.done
		var held *store.HeldError
		if !errors.As(first.err, &held) || held.Name != d.path {
			t.Errorf("Await() = %v", first.err)
		}
		second := await(t.Context(), d.another(), store.Terms{Impatient: true})
		<-second.done
		d.must(second.err)
	})
}

func TestANewerSchemaIsRefusedWithoutWaiting(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.must(d.db.Newer(t.Context()))
		_, err := d.another().Await(t.Context(), bot, nil, store.Terms{TTL: time.Hour})
		var schema *sqldb.SchemaError
		if !errors.As(err, &schema) {
			t.Errorf("Await() = %v", err)
		}
	})
}

func TestInUseLooksAndLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := &desk{t: t, path: at(t)}
		ask := func(want bool) {
			t.Helper()
			if used, err := store.InUse(d.path); used != want || err != nil {
				t.Errorf("InUse() = %v, %v", used, err)
			}
		}
		ask(false)
		d.db, d.Store = open(t, d.path)
		ask(true)
		d.must(d.Release(t.Context()))
		d.must(d.db.Close())
		ask(false)
	})
}

func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	own := pgtest.New()
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &desk{t: t, path: own.URL(t)}
	own.Stop(t, false)
	_, err := d.another().Await(t.Context(), bot, nil, store.Terms{Impatient: true})
	if sqldb.KindOf(err) != sqldb.Unavailable {
		t.Errorf("Await() = %v", err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	db, err := store.Open(t.Context(), d.path, zap.New(core))
	d.must(err)
	next := await(t.Context(), db, store.Terms{})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); logs.Len() == 0; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it says nothing")
		}
	}
	own.Start(t)
	<-next.done
	d.must(errors.Join(next.err, db.Close()))
	if text := fmt.Sprint(logs.All()); logs.Len() != 1 || strings.Contains(text, pgtest.Password) || strings.Contains(text, url.PathEscape(pgtest.Password)) {
		t.Errorf("it said %s", text)
	}
}
