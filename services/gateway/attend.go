package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/operator"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/metrics"
	"telecodex.dev/services/internal/profiling"
	"telecodex.dev/services/internal/rpc"
)

// attend opens the listeners. They are open before anything that may take its
// time: a gateway that cannot reach Telegram says so, and is not taken for dead.
func (g *gateway) attend(ctx context.Context, group *lifecycle.Group) error {
	options, err := g.operatorOptions(g.log.Named("operator"))
	if err != nil {
		return err
	}
	listener, err := g.listen(ctx)
	if err != nil {
		return err
	}
	if listener != nil {
		options.Refused = g.meter.Refused
		server := rpc.NewServer(options)
		gatewayv1.RegisterGatewayServiceServer(server, operator.New(operator.Config{Mode: g.OrchestratorMode, Cycles: g.cycles,
			PollNow: g.pollNow, Work: g.work, Standby: g.standby.Load}))
		group.Go(func(ctx context.Context) error { return server.Serve(ctx, listener, stopGrace) })
	}
	if addr := g.MetricsAddr; !g.Once || addr != defaults().MetricsAddr {
		g.watched()
		g.meter.TLS(options.TLS.Expires, func() (until time.Time) {
			if dial := g.dialing.Load(); dial != nil {
				until = dial.TLS.Expires()
			}
			return until
		}, options.TLS.Refused)
		group.Go(func(ctx context.Context) error {
			return unheard(metrics.Serve(ctx, addr, g.Access.Metrics(addr, options), g.meter.Registry(), g.ready), "CHANNEL_METRICS_ADDR")
		})
	}
	group.Go(func(ctx context.Context) error {
		return unheard(profiling.Serve(ctx, g.PprofAddr), "CHANNEL_PPROF_ADDR")
	})
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
		return nil, fmt.Errorf("operator API: %w", unheard(err, "CHANNEL_LISTEN_ADDR"))
	}
	g.log.Info("operator API", zap.Stringer("address", listener.Addr()))
	return listener, nil
}

// unheard adds to the error of a listener that could not be opened what mends it.
func unheard(err error, setting string) error {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another gateway may run here, or another program has the address; stop the one that should not run, "+
			"or choose another %s, or off for none", err, setting)
	case errors.As(err, &op) && op.Op == "listen":
		return fmt.Errorf("%w; choose another %s, or off for none", err, setting)
	}
	return err
}

// work is what the operator's calls work with; nil before the bot is known.
func (g *gateway) work() *operator.Work {
	p := g.parts.Load()
	if p == nil {
		return nil
	}
	return &operator.Work{Store: p.store, Workers: p.workers, LastPoll: p.poller.LastSuccess, Resolve: p.dispatch.Resolve, Move: p.dispatch.Move}
}

// pollNow asks for a poll at once; before there is a poller, for when there is.
func (g *gateway) pollNow() {
	g.asked.Store(true)
	g.passOn()
}

// passOn hands the wish for a poll to the poller, if there are both.
func (g *gateway) passOn() {
	if p := g.parts.Load(); p != nil && g.asked.Swap(false) {
		p.poller.PollNow()
	}
}

// waitFor notes why the gateway does not do its work yet.
func (g *gateway) waitFor(why string) { g.stands.Store(&why) }

// deafAfter is how long polls may go without success before nobody listens.
func (c Config) deafAfter() time.Duration {
	return max(2*c.LongPoll, 2*c.PollInterval) + 30*time.Second
}

// ready says why the gateway does not do its work: one that does not hear
// Telegram is not ready, whatever else runs.
func (g *gateway) ready() error {
	p := g.parts.Load()
	if p == nil {
		return errors.New(*g.stands.Load())
	}
	return g.deaf(p.poller.LastSuccess(), time.Now())
}

// deaf says that polls have not succeeded for too long.
func (c Config) deaf(last, now time.Time) error {
	switch age := now.Sub(last); {
	case last.IsZero():
		return errors.New("no poll has succeeded yet")
	case age > c.deafAfter():
		return fmt.Errorf("the last successful poll was %s ago", age.Round(time.Second))
	}
	return nil
}
