package cycle

import (
	"maps"
	"slices"
)

// Leave ends the wait for all updates that nothing more is done for in this
// process; they stay stored.
func (t *Tracker) Leave() {
	t.mu.Lock()
	keys := slices.Collect(maps.Keys(t.updates))
	t.mu.Unlock()
	for _, key := range keys {
		t.Settled(key, "", Result{Left: true})
	}
}
