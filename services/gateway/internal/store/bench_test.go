package store_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/store/storetest"
	"telecodex.dev/services/internal/bound"
)

// BenchmarkIngest measures durable intake in batches of 100.
func BenchmarkIngest(b *testing.B) {
	d := newDesk(b, sqlite)
	id := int64(1)
	for b.Loop() {
		batch := make([]store.NewUpdate, 100)
		for i := range batch {
			batch[i] = prompt(id, "a message of a usual length, say this one")
			batch[i].SessionID = fmt.Sprintf("telegram:%d", id%50)
			id++
		}
		d.ingest(batch...)
	}
	bound.Bound{Unit: "updates/s", Limit: 5000, Least: true}.Report(b, float64(id-1)/b.Elapsed().Seconds())
}

// BenchmarkWriters measures single durable steps of 1 and of 20 writers that
// share transactions.
func BenchmarkWriters(b *testing.B) {
	for _, writers := range []int{1, 20} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			d := newDesk(b, sqlite)
			var left atomic.Int64
			left.Store(int64(b.N))
			took := make([][]time.Duration, writers)
			var group sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				group.Go(func() {
					for left.Add(-1) >= 0 {
						began := time.Now()
						if err := d.BlockChat(b.Context(), int64(w), began); err != nil {
							b.Error(err)
							return
						}
						took[w] = append(took[w], time.Since(began))
					}
				})
			}
			group.Wait()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			bound.Bound{Unit: "p99-ms", Limit: 5}.Report(b, float64(all[len(all)*99/100].Microseconds())/1000)
		})
	}
}

// BenchmarkLife measures everything the store does for one update, from intake
// to the sent answer, with 20 lanes at once.
func BenchmarkLife(b *testing.B) {
	d := newDesk(b, sqlite)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for lane := range int64(20) {
		group.Go(func() {
			for id := next.Add(1); id <= int64(b.N); id = next.Add(1) {
				if err := life(d, id, lane); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// life does for an update all that the store does.
func life(d *desk, id, lane int64) error {
	ctx := d.t.Context()
	u := prompt(id, "hello")
	u.ChatID, u.SessionID = lane, fmt.Sprintf("telegram:%d", lane)
	u.Date = time.Time{} // lanes ingest out of order here
	in, err := d.Ingest(ctx, []store.NewUpdate{u}, began)
	if err != nil || len(in.New) != 1 {
		return fmt.Errorf("%+v, %w", in, err)
	}
	turn := store.TurnID(botID, in.New[0].Key, 1)
	for _, step := range []func() error{
		func() error { _, _, err := d.Head(ctx, u.SessionID); return err },
		func() error { return d.Assign(ctx, turn, worker, "j", "") },
		func() error { return d.Accept(ctx, turn, "j") },
		func() error { return d.SetThread(ctx, turn, "thread") },
		func() error {
			return second(d.Finish(ctx, turn, store.Outcome{Name: "succeeded"}, answer("world")))
		},
		func() error { return d.Acknowledged(ctx, turn) },
		func() error {
			m, _, err := d.NextMessage(ctx, lane)
			if err != nil {
				return err
			}
			if err := d.MarkSending(ctx, m.ID); err != nil {
				return err
			}
			_, err = d.MarkSent(ctx, m.ID, 1, began)
			return err
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkSettled compares what an update costs where 1,000,000 are settled with
// what it costs where 1,000 are. The two take turns, so that what the machine and
// its disk do meanwhile concerns both.
func BenchmarkSettled(b *testing.B) {
	counts := [...]int{1_000, 1_000_000}
	var desks [len(counts)]*desk
	for i, count := range counts {
		d := newDesk(b, sqlite)
		if err := life(d, 1, 1); err != nil {
			b.Fatal(err)
		}
		if err := d.db.Close(); err != nil {
			b.Fatal(err)
		}
		if err := storetest.Fill(b.Context(), d.path, 2, count-1, 1000); err != nil {
			b.Fatal(err)
		}
		d.db, d.Store = open(b, d.path)
		desks[i] = d
	}
	const rounds, each = 40, 50
	var took [len(counts)][]time.Duration
	for b.Loop() {
		next := [len(counts)]int64{2_000_000, 2_000_000}
		for round := range rounds {
			for k := range counts {
				i := (k + round) % len(counts)
				started := time.Now()
				for n := range int64(each) {
					if err := life(desks[i], next[i], n); err != nil {
						b.Fatal(err)
					}
					next[i]++
				}
				took[i] = append(took[i], time.Since(started)/each)
			}
		}
	}
	var median [len(counts)]float64
	for i := range counts {
		slices.Sort(took[i])
		median[i] = float64(took[i][len(took[i])/2].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median[0], "1e3-ms/update")
	b.ReportMetric(median[1], "1e6-ms/update")
	bound.Bound{Unit: "times", Limit: 1.2}.Report(b, median[1]/median[0])
}
