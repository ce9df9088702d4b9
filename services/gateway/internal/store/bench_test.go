package store_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
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
	b.ReportMetric(float64(id-1)/b.Elapsed().Seconds(), "updates/s")
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
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkLife measures everything the store does for one update, from intake
// to the sent answer, with 20 lanes at once.
func BenchmarkLife(b *testing.B) {
	d := newDesk(b, sqlite)
	ctx := b.Context()
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for lane := range int64(20) {
		group.Go(func() {
			for {
				id := next.Add(1)
				if id > int64(b.N) {
					return
				}
				u := prompt(id, "hello")
				u.ChatID, u.SessionID = lane, fmt.Sprintf("telegram:%d", lane)
				u.Date = time.Time{} // lanes ingest out of order here
				in, err := d.Ingest(ctx, []store.NewUpdate{u}, began)
				if err != nil || len(in.New) != 1 {
					b.Errorf("%+v, %v", in, err)
					return
				}
				turn := store.TurnID(botID, in.New[0].Key, 1)
				for _, step := range []func() error{
					func() error { _, _, err := d.Head(ctx, u.SessionID); return err },
					func() error { return d.Assign(ctx, turn, worker, "j", "") },
					func() error { return d.Accept(ctx, turn, "j") },
					func() error { return d.SetThread(ctx, turn, "thread") },
					func() error { return second(d.Finish(ctx, turn, store.Outcome{Name: "succeeded"}, answer("world"))) },
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
						b.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}
