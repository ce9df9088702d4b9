package turn

import (
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// storeGrace is how long a stopped turn may take to be stored, on top of the time
// that Codex has to leave. It is only used up when the disk refuses writes.
const storeGrace = 5 * time.Second

// Drain takes no new turns, gives those that run some patience, stops the rest as
// INTERRUPTED, and returns when no turn is left. It is the manager's end.
func (m *Manager) Drain(patience time.Duration) {
	m.mu.Lock()
	m.draining, m.closing = true, true
	m.keep()
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
	m.stopAll()
	m.mu.Unlock()
	if !within(ended, killGrace+storeGrace) {
		close(m.abandoned)
	}
	<-ended
}

// StopTaking takes no new turns until TakeAgain, and stops those that still run
// after some patience as INTERRUPTED. Asked again, the new patience holds.
func (m *Manager) StopTaking(patience time.Duration) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.draining = true
	m.keep()
	if !m.closing { // else Drain stops them
		var mine *time.Timer
		mine = time.AfterFunc(patience, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.cut == mine { // nobody has decided otherwise meanwhile
				m.stopAll()
			}
		})
		m.cut = mine
	}
	m.change()
	return m.status()
}

// TakeAgain undoes StopTaking. Errors: ErrDraining when the manager is about to
// end.
func (m *Manager) TakeAgain() (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return m.status(), ErrDraining
	}
	m.draining = false
	m.keep()
	m.change()
	return m.status(), nil
}

// keep lets what runs go on; the caller holds mu.
func (m *Manager) keep() {
	if m.cut != nil {
		m.cut.Stop()
		m.cut = nil
	}
}

// stopAll stops what runs; the caller holds mu.
func (m *Manager) stopAll() {
	for _, t := range m.turns {
		t.stop(orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED)
	}
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
