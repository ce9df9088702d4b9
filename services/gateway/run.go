package gateway

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/lifecycle"
)

const (
	// beats are how many there are to a lease's TTL: they keep it alive, and notice
	// when it was lost.
	beats = 3
	// pruneEvery is how often old settled updates are removed.
	pruneEvery = time.Minute
	// stopGrace is how long operator calls may take when the gateway stops.
	stopGrace = 2 * time.Second
	// flushGrace is how long a single cycle tells workers what is stored.
	flushGrace = 2 * time.Second
)

// run answers those who ask from outside, from the first moment to the last, and
// meanwhile opens the gateway and does its work.
func (g *gateway) run(ctx context.Context) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	group := lifecycle.NewGroup(ctx)
	if err := g.attend(ctx, group); err != nil {
		return g.unopened(ctx, err)
	}
	group.Go(func(ctx context.Context) error {
		defer done()
		if err := g.open(ctx); err != nil {
			return g.unopened(ctx, err)
		}
		if g.Once {
			return g.once(ctx, g.parts.Load())
		}
		return g.serve(ctx, g.parts.Load())
	})
	return g.ended(group.Wait())
}

// serve runs all parts until ctx ends.
func (g *gateway) serve(ctx context.Context, p *parts) error {
	group := lifecycle.NewGroup(ctx)
	p.start(group)
	group.Go(p.poller.Run)
	group.Go(g.watchStore)
	group.Go(func(ctx context.Context) error { return g.keepHouse(ctx, p.store) })
	group.Go(lifecycle.Trim)
	return group.Wait()
}

// once runs one cycle: what one poll brings, and what was stored before.
func (g *gateway) once(ctx context.Context, p *parts) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	group := lifecycle.NewGroup(ctx)
	p.start(group)
	group.Go(g.watchStore)
	group.Go(func(ctx context.Context) error { return g.keepHouse(ctx, p.store) })
	group.Go(func(ctx context.Context) error {
		defer done()
		return g.cycle(ctx, p)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	g.tracker.Flush()
	if g.failed.Load() {
		return ErrCycleFailed
	}
	return nil
}

// start starts the parts that work for the poller.
func (p *parts) start(group *lifecycle.Group) {
	if p.workers != nil {
		group.Go(p.workers.Run)
	}
	group.Go(p.dispatch.Run)
	group.Go(p.sender.Run)
}

// cycle polls and waits until everything is worked off, or left.
func (g *gateway) cycle(ctx context.Context, p *parts) error {
	if err := p.poller.Run(ctx); err != nil {
		return err
	}
	// Lanes and commands fill the outbox, never the other way round.
	if err := errors.Join(p.dispatch.Quiet(ctx), p.sender.Quiet(ctx)); err != nil {
		return context.Cause(ctx) // a single cycle that is cut off has left work
	}
	g.tracker.Leave()
	flush, cancel := context.WithTimeout(ctx, flushGrace)
	defer cancel()
	if p.dispatch.Flush(flush) != nil {
		g.log.Info("not every worker was told what is stored; the next run does it")
	}
	return nil
}

// keepHouse keeps the lease, and the store small.
func (g *gateway) keepHouse(ctx context.Context, held *store.Store) error {
	beat, prune := time.NewTicker(cmp.Or(g.LeaseTTL, store.DefaultTTL)/beats), time.NewTicker(pruneEvery)
	defer beat.Stop()
	defer prune.Stop()
	err := g.prune(ctx, held) // a single cycle is over long before the first tick
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err = held.Beat(ctx); err != nil && !store.Fenced(err) {
				if ctx.Err() == nil {
					g.log.Error("store cannot be written", zap.Error(err))
				}
				err = nil
			}
		case <-prune.C:
			err = g.prune(ctx, held)
		}
	}
	return err
}

// prune fails only when another gateway has taken the store over; else there is a
// next time.
func (g *gateway) prune(ctx context.Context, held *store.Store) error {
	removed, err := held.Prune(ctx, time.Now(), cmp.Or(g.KeepSettled, defaults().KeepSettled))
	switch {
	case store.Fenced(err):
		return err
	case err != nil && ctx.Err() == nil:
		g.log.Error("settled updates could not be removed", zap.Error(err))
	case removed > 0:
		g.log.Info("settled updates removed", zap.Int("count", removed))
	}
	return nil
}
