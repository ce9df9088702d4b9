package dispatch

import (
	"testing"

	"telecodex.dev/services/gateway/internal/store"
)

// BenchmarkUpdates is what an update costs between its commit and the outbox,
// with a worker that answers at once: 20 chats, 100 updates at a time.
func BenchmarkUpdates(b *testing.B) {
	f := newWorker(b, "a")
	f.slots = 20
	w := newWorld(b, f).run()
	for b.Loop() {
		var batch []store.NewUpdate
		for i := range 100 {
			batch = append(batch, store.NewUpdate{ChatID: int64(1 + i%20), Kind: store.KindPrompt, Text: "hello"})
		}
		w.sendAll(batch...)
		if err := w.manager.Quiet(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "updates/s")
}
