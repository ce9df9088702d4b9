package dispatch

import (
	"context"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/rpc"
)

const (
	acknowledgeAtOnce = 16
	acknowledgeAgain  = 15 * time.Second
	acknowledgeWithin = 10 * time.Second
)

// acknowledger tells workers which outcomes are stored, so that they may drop
// the events. Nothing waits for it: what it does not manage now it finds in the
// store again.
type acknowledger struct {
	m     *Manager
	turns []store.Turn // to be told; guarded by Manager.mu, as all that follows
	busy  bool
}

func newAcknowledger(m *Manager) acknowledger { return acknowledger{m: m} }

func (a *acknowledger) quiet() bool { return len(a.turns) == 0 && !a.busy }

func (a *acknowledger) add(t store.Turn) {
	if t.WorkerID != "" {
		a.m.change(func() { a.turns = append(a.turns, t) })
	}
}

// run acknowledges what is added, and from time to time what the store says was
// not acknowledged yet.
func (a *acknowledger) run(ctx context.Context) error {
	for ctx.Err() == nil {
		left, err := a.m.Store.Unacknowledged(ctx)
		if err != nil && ctx.Err() == nil {
			a.m.Log.Error("turns to be acknowledged could not be read", zap.Error(err))
		}
		a.tell(ctx, left)
		a.work(ctx)
	}
	return nil
}

// work acknowledges what is added until it is time to look into the store again.
func (a *acknowledger) work(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, acknowledgeAgain)
	defer cancel()
	for a.m.await(ctx, func() bool { return len(a.turns) > 0 }) == nil {
		var turns []store.Turn
		a.m.change(func() { turns, a.turns, a.busy = a.turns, nil, true })
		a.tell(ctx, turns)
		a.m.change(func() { a.busy = false })
	}
}

func (a *acknowledger) tell(ctx context.Context, turns []store.Turn) {
	var group errgroup.Group
	group.SetLimit(acknowledgeAtOnce)
	for _, t := range turns {
		group.Go(func() error {
			if err := a.one(ctx, t); err != nil && ctx.Err() == nil {
				a.m.Log.Info("turn could not be acknowledged yet", zap.String("turn", t.ID), zap.Error(err))
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
}

func (a *acknowledger) one(ctx context.Context, t store.Turn) error {
	client, ok := a.m.Workers.Lookup(t.WorkerID)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, acknowledgeWithin)
	defer cancel()
	_, err := client.AcknowledgeTurn(ctx, &orchestratorv1.AcknowledgeTurnRequest{TurnId: t.ID})
	// A worker that does not know the turn has nothing to drop.
	if err != nil && rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN {
		return err
	}
	return a.m.Store.Acknowledged(ctx, t.ID)
}
