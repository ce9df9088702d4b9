package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/operator"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/metrics"
	"telecodex.dev/services/internal/rpc"
)

const (
	// beatEvery keeps the lease alive, and notices when it was lost.
	beatEvery = 5 * time.Second
	// pruneEvery is how often old settled updates are removed.
	pruneEvery = time.Hour
	// stopGrace is how long operator calls may take when the gateway stops.
	stopGrace = 2 * time.Second
	// flushGrace is how long a single cycle tells workers what is stored.
	flushGrace = 2 * time.Second
)

// serve runs all parts until ctx ends.
func (g *gateway) serve(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	if err := g.start(ctx, group); err != nil {
		return err
	}
	group.Go(g.poller.Run)
	group.Go(g.keepHouse)
	group.Go(lifecycle.Trim)
	return group.Wait()
}

// once runs one cycle: what one poll brings, and what was stored before.
func (g *gateway) once(ctx context.Context) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	group := lifecycle.NewGroup(ctx)
	if err := g.start(ctx, group); err != nil {
		return err
	}
	group.Go(func(ctx context.Context) error {
		defer done()
		return g.cycle(ctx)
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

// cycle polls and waits until everything is worked off, or left.
func (g *gateway) cycle(ctx context.Context) error {
	if err := g.poller.Run(ctx); err != nil {
		return err
	}
	// Lanes and commands fill the outbox, never the other way round.
	if err := errors.Join(g.dispatch.Quiet(ctx), g.sender.Quiet(ctx)); err != nil {
		return context.Cause(ctx) // a single cycle that is cut off has left work
	}
	g.tracker.Leave()
	flush, cancel := context.WithTimeout(ctx, flushGrace)
	defer cancel()
	if g.dispatch.Flush(flush) != nil {
		g.log.Info("not every worker was told what is stored; the next run does it")
	}
	return nil
}

// start starts the parts that work for the poller, and the listeners.
func (g *gateway) start(ctx context.Context, group *lifecycle.Group) error {
	listener, err := g.listen(ctx)
	if err != nil {
		return err
	}
	if listener != nil {
		server := rpc.NewServer(g.log.Named("operator"))
		gatewayv1.RegisterGatewayServiceServer(server, operator.New(operator.Config{Store: g.store, Workers: g.workers, Mode: g.OrchestratorMode,
			Cycles: g.cycles, PollNow: g.poller.PollNow, LastPoll: g.poller.LastSuccess, Resolve: g.dispatch.Resolve}))
		group.Go(func(ctx context.Context) error { return server.Serve(ctx, listener, stopGrace) })
	}
	if addr := g.MetricsAddr; !g.Once || addr != defaults().MetricsAddr {
		g.metrics.watch(g)
		group.Go(func(ctx context.Context) error { return metrics.Serve(ctx, addr, g.metrics.registry, g.ready) })
	}
	if g.workers != nil {
		group.Go(g.workers.Run)
	}
	group.Go(g.dispatch.Run)
	group.Go(g.sender.Run)
	return nil
}

// listen opens the operator's listener, if there is to be one. A single cycle
// has none unless it was asked for: it may run beside another gateway.
func (g *gateway) listen(ctx context.Context) (net.Listener, error) {
	switch {
	case g.Listener != nil:
		return g.Listener, nil
	case g.ListenAddr == "", g.Once && g.ListenAddr == defaults().ListenAddr:
		return nil, nil
	}
	listener, err := rpc.Listen(ctx, g.ListenAddr)
	if err != nil {
		return nil, fmt.Errorf("operator API: %w; choose another CHANNEL_LISTEN_ADDR, or an empty one for none", err)
	}
	g.log.Info("operator API", zap.Stringer("address", listener.Addr()))
	return listener, nil
}

// deafAfter is how long polls may go without success before nobody listens.
func (c Config) deafAfter() time.Duration {
	return max(2*c.LongPoll, 2*c.PollInterval) + 30*time.Second
}

// ready says why the gateway does not do its work: a poller that went deaf is
// not ready, whatever else runs.
func (g *gateway) ready() error {
	last := g.poller.LastSuccess()
	switch age := time.Since(last); {
	case last.IsZero():
		return errors.New("no poll has succeeded yet")
	case age > g.deafAfter():
		return fmt.Errorf("the last successful poll was %s ago", age.Round(time.Second))
	}
	return nil
}

// keepHouse keeps the lease, and the store small.
func (g *gateway) keepHouse(ctx context.Context) error {
	beat, prune := time.NewTicker(beatEvery), time.NewTicker(pruneEvery)
	defer beat.Stop()
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err := g.store.Beat(ctx); fatal(err) {
				return err
			} else if err != nil && ctx.Err() == nil {
				g.log.Error("store cannot be written", zap.Error(err))
			}
		case now := <-prune.C:
			removed, err := g.store.Prune(ctx, now)
			if fatal(err) {
				return err
			}
			g.log.Info("settled updates removed", zap.Int("count", removed), zap.Error(err))
		}
	}
}
