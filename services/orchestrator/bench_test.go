package orchestrator_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/orchestrator"
)

// benchEvents is how many events a bare stream and the relay of one turn move.
const benchEvents = 200_000

// BenchmarkRelay is the rate of events from Codex's stdout to a client's receive,
// journal and all, next to a bare gRPC stream of the same messages, and to Codex's
// pipe when it is only read.
func BenchmarkRelay(b *testing.B) {
	for _, tt := range []struct{ turns, each int }{{1, benchEvents}, {64, 12_500}} {
		b.Run(fmt.Sprintf("turns=%d", tt.turns), func(b *testing.B) {
			var relayed, bare, pipe time.Duration
			for b.Loop() {
				w := start(b, func(c *orchestrator.Config) { c.MaxTurns = tt.turns })
				took, sample := relay(b, w, tt.turns, tt.each)
				relayed += took
				w.stop()
				bare += bareStream(b, sample)
				pipe += barePipe(b)
			}
			rate := float64(b.N*tt.turns*tt.each) / relayed.Seconds()
			bareRate := float64(b.N*benchEvents) / bare.Seconds()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "events/s")
			b.ReportMetric(bareRate, "bare-events/s")
			b.ReportMetric(float64(b.N*benchEvents)/pipe.Seconds(), "pipe-events/s")
			bound.Bound{Unit: "ratio", Limit: 0.2, Least: true}.Report(b, rate/bareRate)
		})
	}
}

// relay runs turns at once and returns how long that took, spawns included, and
// one of the events.
func relay(b *testing.B, w *worker, turns, each int) (took time.Duration, sample *orchestratorv1.TurnEvent) {
	streams := make([]*eventStream, turns)
	var group sync.WaitGroup
	began := time.Now()
	for i := range streams {
		streams[i] = w.run(request(fmt.Sprintf("t%d", i), "flood", "FAKE_CODEX_BYTES=256", "FAKE_CODEX_EVENTS="+strconv.Itoa(each)))
		group.Go(func() {
			count := 0
			for {
				_, event, err := streams[i].recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Error(err)
					break
				}
				count++
				if i == 0 && event.GetItemCompleted() != nil {
					sample = event
				}
			}
			if count < each {
				b.Errorf("%d of %d events", count, each)
			}
		})
	}
	group.Wait()
	return time.Since(began), sample
}

// BenchmarkDelay is the time from Codex's write of an event to a client's receive, at
// 100 events a second, next to what the disk takes for one fsync, and to the same way
// with nothing of the project's on it. The three take turns, since disks and
// processors have better and worse moments.
func BenchmarkDelay(b *testing.B) {
	var delays, bare, syncs []time.Duration
	for b.Loop() {
		w := start(b)
		stream := w.run(request("t1", "paced", paced...))
		for {
			_, event, err := stream.recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if took, ok := sinceWritten(event); ok {
				delays = append(delays, took)
			}
		}
		w.stop()
		bare = append(bare, bareDelays(b)...)
		syncs = append(syncs, fsyncs(b)...)
	}
	b.ReportMetric(0, "ns/op")
	at := func(d []time.Duration, hundredths int) float64 {
		slices.Sort(d)
		return float64(d[len(d)*hundredths/100].Microseconds())
	}
	half, fsync := at(delays, 50), at(syncs, 50)
	b.ReportMetric(fsync, "fsync-p50-µs")
	b.ReportMetric(at(bare, 50), "bare-p50-µs")
	b.ReportMetric(half/at(bare, 50), "x-bare")
	bound.Bound{Unit: "p50-µs", Limit: 1000}.Report(b, half)
	bound.Bound{Unit: "p99-µs", Limit: 5000}.Report(b, at(delays, 99))
	bound.Bound{Unit: "p50-above-fsync-µs", Limit: 900}.Report(b, half-fsync)
}
