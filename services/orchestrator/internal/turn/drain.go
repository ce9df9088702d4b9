package turn

import (
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// storeGrace is how long a stopped turn may take to be stored, on top of the time
// that Codex has to leave. It is only used up when the disk refuses writes.
const storeGrace = 5 * time.Second

// Drain takes no new turns, gives those that run some patience, stops the rest as
// INTERRUPTED, and returns when no turn is left.
func (m *Manager) Drain(patience time.Duration) {
	m.mu.Lock()
	m.draining = true
	m.change()
	m.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.running.Wait()
	}()
	if within(ended, patience) {
		return
	}
	m.mu.Lock()
	for _, t := range m.turns {
		t.stop(orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED)
	}
	m.mu.Unlock()
	if !within(ended, killGrace+storeGrace) {
		close(m.abandoned)
	}
	<-ended
}

func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
