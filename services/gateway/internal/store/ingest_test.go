package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
)

func TestIngestStoresUpdatesAndMovesTheCursor(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		dropped := prompt(11, "")
		dropped.Kind, dropped.State, dropped.Reason = "", store.Dropped, "chat_id not allowlisted (42)"
		in := d.ingest(prompt(10, "a\x00b\xff"), dropped, prompt(12, "b"))
		want := store.Cursor{Generation: 1, NextOffset: 13, CommittedAt: began.Add(time.Second)}
		if diff := cmp.Diff(want, in.Cursor); diff != "" {
			t.Error(diff)
		}
		d.reopen()
		cursor, err := d.Cursor(t.Context())
		d.must(err)
		if diff := cmp.Diff(want, cursor); diff != "" {
			t.Error(diff)
		}
		var got []string
		for _, u := range in.New {
			got = append(got, u.Key.String()+" "+string(u.State)+" "+u.Text)
		}
		if diff := cmp.Diff([]string{"update 10 of generation 1 QUEUED ab\uFFFD", "update 11 of generation 1 DROPPED ",
			"update 12 of generation 1 QUEUED b"}, got); diff != "" {
			t.Error(diff)
		}
		head, ok, err := d.Head(t.Context(), "telegram:42")
		d.must(err)
		if !ok || head.ID != "1000000-1-10-1" || head.Prompt != "ab\uFFFD" || head.Attempt != 1 || head.State != store.Queued {
			t.Errorf("head = %+v, %v", head, ok)
		}
	})
}

// TestIngestTellsDuplicatesGenerationsAndStaleOnes starts each time from a
// cursor at 100 that was committed at the time began+1s, with updates 98 and 99
// stored.
func TestIngestTellsDuplicatesGenerationsAndStaleOnes(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		young, old := began.Add(time.Hour), began.Add(-time.Hour)
		dated := func(u store.NewUpdate, date time.Time) store.NewUpdate { u.Date = date; return u }
		type result struct {
			New        []store.Key
			Duplicates []int64
			Stale      []int64
			Generation int64
			NextOffset int64
		}
		for _, tt := range []struct {
			name  string
			batch []store.NewUpdate
			want  result
		}{
			{"the same message again", []store.NewUpdate{prompt(98, "first"), prompt(99, "second")},
				result{Duplicates: []int64{98, 99}, Generation: 1, NextOffset: 100}},
			{"the same message twice in one batch", []store.NewUpdate{prompt(100, "third"), prompt(100, "third")},
				result{New: []store.Key{key(100)}, Duplicates: []int64{100}, Generation: 1, NextOffset: 101}},
			{"a gap", []store.NewUpdate{prompt(250, "later")},
				result{New: []store.Key{key(250)}, Generation: 1, NextOffset: 251}},
			{"ids that begin again, younger than the cursor", []store.NewUpdate{dated(prompt(5, "x"), young), dated(prompt(6, "y"), young)},
				result{New: []store.Key{{Generation: 2, UpdateID: 5}, {Generation: 2, UpdateID: 6}}, Generation: 2, NextOffset: 7}},
			{"a known id with another message, younger than the cursor", []store.NewUpdate{dated(prompt(99, "other"), young)},
				result{New: []store.Key{{Generation: 2, UpdateID: 99}}, Generation: 2, NextOffset: 100}},
			{"an unknown id below the floor, older than it", []store.NewUpdate{dated(prompt(50, "x"), old)},
				result{Stale: []int64{50}, Generation: 1, NextOffset: 100}},
			{"a known id with another message, older than the cursor", []store.NewUpdate{dated(prompt(99, "other"), old)},
				result{Stale: []int64{99}, Generation: 1, NextOffset: 100}},
			{"an id below the floor without a date", []store.NewUpdate{dated(prompt(50, "x"), time.Time{})},
				result{New: []store.Key{{Generation: 2, UpdateID: 50}}, Generation: 2, NextOffset: 51}},
			{"both sides of the floor in one batch", []store.NewUpdate{dated(prompt(100, "a"), young), dated(prompt(5, "b"), young)},
				result{New: []store.Key{key(100), {Generation: 2, UpdateID: 5}}, Generation: 2, NextOffset: 6}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				d := newDesk(t, at)
				d.ingest(prompt(98, "first"), prompt(99, "second"))
				in := d.ingest(tt.batch...)
				got := result{Duplicates: in.Duplicates, Generation: in.Cursor.Generation, NextOffset: in.Cursor.NextOffset}
				for _, u := range in.New {
					got.New = append(got.New, u.Key)
				}
				for _, u := range in.Stale {
					got.Stale = append(got.Stale, u.UpdateID)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				again := d.ingest(tt.batch...)
				if len(again.New) > 0 || again.Cursor != in.Cursor {
					t.Errorf("the same batch again brings %v, and the cursor to %v", again.New, again.Cursor)
				}
			})
		}
	})
}

func TestAMessageIsKnownAcrossGenerations(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(98, "first"), prompt(99, "second"))
		young := prompt(5, "restart")
		young.Date = began.Add(time.Hour)
		d.ingest(young)
		// Telegram sends what it was never told to forget.
		in := d.ingest(prompt(98, "first"), young)
		if len(in.New) != 0 || !slices.Equal(in.Duplicates, []int64{98, 5}) {
			t.Errorf("in = %+v", in)
		}
	})
}

func TestStaleUpdateIsTracedAsDropped(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(99, "x"))
		old := prompt(50, "old")
		old.Date = began.Add(-time.Hour)
		d.ingest(old)
		if got := d.state(50); got != store.Dropped {
			t.Errorf("state = %s", got)
		}
		if _, ok, _ := d.Head(t.Context(), "telegram:42"); !ok {
			t.Error("the lane is empty")
		}
		work, err := d.OpenWork(t.Context(), "telegram:42")
		d.must(err)
		if len(work) != 1 || work[0].UpdateID != 99 {
			t.Errorf("work = %v", work)
		}
	})
}

func TestCursorFileIsImportedOnlyByAStoreThatKnowsNoBot(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at) // knows bot 1000000
		floor := int64(777)
		other := store.Bot{ID: 2000000, Username: "other", Fingerprint: "ff"}
		s, err := d.db.Acquire(t.Context(), other, &floor)
		d.must(err)
		if c, err := s.Cursor(t.Context()); err != nil || c.NextOffset != 0 {
			t.Errorf("cursor = %+v, %v", c, err)
		}
		empty := &desk{t: t, path: t.TempDir() + "/x.db"}
		if empty.db, err = store.Open(t.Context(), empty.path, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		if empty.Store, err = empty.db.Acquire(t.Context(), bot, &floor); err != nil {
			t.Fatal(err)
		}
		c, err := empty.Cursor(t.Context())
		empty.must(err)
		if c.NextOffset != 777 || c.CommittedAt.IsZero() {
			t.Errorf("imported cursor = %+v", c)
		}
		later := int64(888)
		if empty.Store, err = empty.db.Acquire(t.Context(), bot, &later); err != nil {
			t.Fatal(err)
		}
		if c, err = empty.Cursor(t.Context()); err != nil || c.NextOffset != 777 {
			t.Errorf("cursor after a second start = %+v, %v", c, err)
		}
		empty.must(empty.db.Close())
	})
}

func TestAnotherTokenOfTheSameBotBeginsAnewWithoutDuplicates(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(98, "first"), prompt(99, "second"))
		rotated := bot
		rotated.Fingerprint = store.Fingerprint("1000000:rotated")
		s, err := d.db.Acquire(t.Context(), rotated, nil)
		d.must(err)
		c, err := s.Cursor(t.Context())
		d.must(err)
		if c.NextOffset != 0 || c.Generation != 1 {
			t.Fatalf("cursor = %+v", c)
		}
		in, err := s.Ingest(t.Context(), []store.NewUpdate{prompt(99, "second"), prompt(100, "third")}, began.Add(time.Minute))
		d.must(err)
		if len(in.New) != 1 || in.New[0].UpdateID != 100 || !slices.Equal(in.Duplicates, []int64{99}) || in.Cursor.NextOffset != 101 {
			t.Errorf("in = %+v", in)
		}
	})
}
