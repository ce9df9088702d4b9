package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/rpc"
)

const (
	acknowledgeAtOnce = 16
	acknowledgeAgain  = 15 * time.Second
	acknowledgeWithin = 10 * time.Second
)

var errUnreachable = errors.New("the worker cannot be reached")

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
// not acknowledged yet; sooner while that fails, since a worker may be on its way
// back.
func (a *acknowledger) run(ctx context.Context) error {
	for again := firstPause; ctx.Err() == nil; again = min(2*again, acknowledgeAgain) {
		left, err := a.m.Store.Unacknowledged(ctx)
		if err != nil && ctx.Err() == nil {
			a.m.Log.Error("turns to be acknowledged could not be read", zap.Error(err))
		}
		if a.tell(ctx, left) && err == nil {
			again = acknowledgeAgain
		}
		if !a.work(ctx, again) {
			again = firstPause
		}
	}
	return nil
}

// work acknowledges what is added until it is time to look into the store again,
// and says whether all of it succeeded.
func (a *acknowledger) work(ctx context.Context, d time.Duration) (ok bool) {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ok = true; a.m.await(until, func() bool { return len(a.turns) > 0 }) == nil; {
		var turns []store.Turn
		a.m.change(func() { turns, a.turns, a.busy = a.turns, nil, true })
		ok = a.tell(ctx, turns) && ok
		a.m.change(func() { a.busy = false })
	}
	return ok
}

// tell acknowledges turns and says whether all of them are.
func (a *acknowledger) tell(ctx context.Context, turns []store.Turn) bool {
	var group errgroup.Group
	group.SetLimit(acknowledgeAtOnce)
	var failed atomic.Bool
	for _, t := range turns {
		group.Go(func() error {
			if err := a.one(ctx, t); err != nil {
				failed.Store(true)
				a.m.Log.Debug("turn could not be acknowledged yet", zap.String("turn_id", t.ID), zap.Error(err))
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
	return !failed.Load()
}

func (a *acknowledger) one(ctx context.Context, t store.Turn) error {
	if a.m.Workers.Gone(t.WorkerID) { // and its events with it
		return a.m.Store.Acknowledged(ctx, t.ID)
	}
	client, ok := a.m.Workers.Lookup(t.WorkerID)
	if !ok {
		return errUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, acknowledgeWithin)
	defer cancel()
	if t.State == store.Interrupted {
		// It is not to go on, nor to begin: the worker may have been away with it, or
		// with the call that asks for it.
		if _, err := client.CancelTurn(ctx, &orchestratorv1.CancelTurnRequest{TurnId: t.ID}); err != nil {
			return err
		}
	}
	_, err := client.AcknowledgeTurn(ctx, &orchestratorv1.AcknowledgeTurnRequest{TurnId: t.ID})
	// A worker that does not know the turn has nothing to drop.
	if err != nil && rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN {
		return err
	}
	crashpoint.Here(crashpoint.Acknowledged)
	return a.m.Store.Acknowledged(ctx, t.ID)
}
