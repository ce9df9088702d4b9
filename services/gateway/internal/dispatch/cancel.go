package dispatch

import (
	"context"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
)

// order is a person's wish to stop an update's turn, from the command until the
// turn has ended. It is the stored command that makes it durable.
type order struct {
	session string
	done    chan struct{}
	left    bool // the lane was left with the turn open
}

// ordered registers a wish, and tells the session's lane. The returned channel
// is closed when the turn has ended or its lane was left.
func (m *Manager) ordered(t store.Turn) *order {
	o := &order{session: t.SessionID, done: make(chan struct{})}
	m.change(func() {
		if known := m.commands.cancels[t.Key]; known != nil {
			o = known
		} else {
			m.commands.cancels[t.Key] = o
		}
		if r := m.lanes[t.SessionID]; r != nil {
			select {
			case r.cancels <- struct{}{}:
			default: // it looks already
			}
		}
		m.wanted[t.SessionID] = true
	})
	return o
}

func (m *Manager) cancelWanted(key store.Key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commands.cancels[key] != nil
}

// cancelDone ends the wish: the turn has ended, however.
func (m *Manager) cancelDone(key store.Key) {
	m.change(func() {
		if o := m.commands.cancels[key]; o != nil {
			delete(m.commands.cancels, key)
			close(o.done)
		}
	})
}

// cancelLeft lets go of the wishes of a lane that is left; the caller holds mu.
// Their commands stay stored.
func (m *Manager) cancelLeft(session string) {
	for key, o := range m.commands.cancels {
		if o.session == session {
			delete(m.commands.cancels, key)
			o.left = true
			close(o.done)
		}
	}
}

// cancelTurn asks the head's worker to stop it, until the worker has noted it or
// the head is settled. The outcome arrives on the stream.
func (r *runner) cancelTurn(ctx context.Context) {
	if r.stopTurn != nil {
		return
	}
	ctx, r.stopTurn = context.WithCancel(ctx)
	turn, worker := r.head.ID, r.head.WorkerID
	r.stoppings.Go(func() {
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
			changed := r.m.Workers.Changed()
			if client, ok := r.m.Workers.Lookup(worker); ok {
				_, err := client.CancelTurn(ctx, &orchestratorv1.CancelTurnRequest{TurnId: turn})
				if err == nil {
					return
				}
				changed = nil // it is there, and was asked too early or in vain
				r.log.Warn("turn could not be stopped yet", zap.String("turn_id", turn), zap.Error(err))
			}
			select {
			case <-ctx.Done():
			case <-changed:
			case <-time.After(pause):
			}
		}
	})
}
