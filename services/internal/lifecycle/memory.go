package lifecycle

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often Trim looks; an interval without much work is idleness.
	trimEvery = 15 * time.Second
	// trimBusy is how many bytes a program that counts as idle allocates at most
	// between two looks.
	trimBusy = 4 << 20
	// trimWorth is how many bytes of heap must have come since the last trim.
	trimWorth = 8 << 20
)

// Trim gives memory back to the system once a program has fallen idle, until ctx
// ends. Go collects when the heap has grown, or after two minutes: without it a
// service keeps what its last huge message took for as long as nobody writes.
func Trim(ctx context.Context) error {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	allocated, floor := heap()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		before := allocated
		var held uint64
		allocated, held = heap()
		floor = min(floor, held)
		if allocated-before > trimBusy || held-floor < trimWorth {
			continue
		}
		debug.FreeOSMemory()
		allocated, floor = heap()
	}
}

// heap is how many bytes were ever allocated, and how many the heap holds of the
// system's memory.
func heap() (allocated, held uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples[1:] {
		held += s.Value.Uint64()
	}
	return samples[0].Value.Uint64(), held
}
