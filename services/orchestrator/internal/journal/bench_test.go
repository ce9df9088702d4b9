package journal_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// BenchmarkAppend is the rate of events over the whole journal.
func BenchmarkAppend(b *testing.B) {
	for _, turns := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("turns=%d", turns), func(b *testing.B) {
			const batch = 64
			j := open(b, filepath.Join(b.TempDir(), "journal.db"))
			logs := make([]*journal.Log, turns)
			for i := range logs {
				_, logs[i] = accept(b, j, fmt.Sprintf("t%d", i))
			}
			b.ResetTimer()
			var group sync.WaitGroup
			for i, log := range logs {
				share := b.N/turns + 1
				group.Go(func() {
					var committed sync.WaitGroup
					for first := 1; first <= share; first += batch {
						committed.Add(1)
						events := texts(fmt.Sprintf("t%d", i), first, min(batch, share-first+1), 256)
						if err := log.Append(events, journal.Update{}, func(err error) {
							if err != nil {
								b.Error(err)
							}
							committed.Done()
						}); err != nil {
							b.Error(err)
						}
					}
					committed.Wait()
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkCommit is the time from an append to its commit when nothing else
// happens.
func BenchmarkCommit(b *testing.B) {
	j := open(b, filepath.Join(b.TempDir(), "journal.db"))
	_, log := accept(b, j, "t1")
	took := make([]time.Duration, 0, b.N)
	result := make(chan error, 1)
	for n := 1; b.Loop(); n++ {
		events := texts("t1", n, 1, 256)
		start := time.Now()
		if err := log.Append(events, journal.Update{}, func(err error) { result <- err }); err != nil {
			b.Fatal(err)
		}
		if err := <-result; err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	bound.Bound{Unit: "p99-ms", Limit: 5}.Report(b, float64(took[len(took)*99/100].Microseconds())/1000)
}
