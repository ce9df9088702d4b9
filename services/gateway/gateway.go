// Package gateway is the service between Telegram and the workers: it takes
// updates from the Bot API, keeps each conversation's turns in order, has them
// run by orchestrator workers, and sends the answers. This package puts the parts
// together and says in which order they begin and end; the parts do the work.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/delivery"
	"telecodex.dev/services/gateway/internal/dispatch"
	"telecodex.dev/services/gateway/internal/heartbeat"
	"telecodex.dev/services/gateway/internal/operator"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
)

// ErrCycleFailed is what Run returns when the one cycle of Config.Once failed;
// its report says why.
var ErrCycleFailed = errors.New("the cycle failed")

// TokenError says that Telegram refuses the bot token.
type TokenError struct{ Code int }

func (e *TokenError) Error() string {
	return fmt.Sprintf("the Bot API refuses the token (%d): nothing was lost; check CHANNEL_TOKEN, and CHANNEL_TELEGRAM_API_URL if it is set", e.Code)
}

const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// gateway holds the parts of one Run.
type gateway struct {
	Config
	log     *zap.Logger
	failed  atomic.Bool // a report said so
	cycles  *operator.Cycles
	tracker *cycle.Tracker
	metrics *metricSet

	bot      *botapi.Client
	db       *store.DB
	store    *store.Store
	workers  *workers.Directory // nil in echo mode
	poller   *poller.Poller
	dispatch *dispatch.Manager
	sender   *delivery.Sender
}

// Run runs the gateway until ctx ends or, with Config.Once, until what one poll
// brought and what was stored before is worked off. Turns that run when it ends
// go on at their workers and are taken up again by the next Run.
//
// Errors: ErrCycleFailed; *TokenError; *store.HeldError and *store.FencedError
// when another gateway serves the bot; those of the store and the listeners.
func Run(ctx context.Context, config Config) (err error) {
	g := newGateway(config)
	for _, warning := range config.Warnings {
		g.log.Warn(warning)
	}
	if err := g.open(ctx); err != nil {
		g.tracker.Flush()
		return errors.Join(g.unopened(ctx, err), g.close())
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if config.Once {
		return g.once(ctx)
	}
	return g.serve(ctx)
}

func newGateway(config Config) *gateway {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.Stdout == nil {
		config.Stdout = io.Discard
	}
	g := &gateway{Config: config, log: config.Log, cycles: operator.NewCycles(), metrics: newMetricSet()}
	options := cycle.Options{Gauges: g.gauges, Progress: g.cycles.Progress, OnSuccess: config.AckPolicy == AckOnSuccess}
	if config.HeartbeatURL != "" {
		options.Heartbeat = heartbeat.New(heartbeat.Options{URL: config.HeartbeatURL, Log: g.log.Named("heartbeat")}).Post
	}
	g.tracker = cycle.NewTracker(g.report, options)
	return g
}

// report prints a cycle's report.
func (g *gateway) report(r *telemetryv1.CycleReport) {
	if r.GetStatus() == "failed" {
		g.failed.Store(true)
	}
	g.metrics.count(r)
	line, err := cycle.JSON(r)
	if err == nil {
		_, err = g.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		g.log.Error("report could not be written", zap.Error(err))
	}
}

// gauges are what a report says of now.
func (g *gateway) gauges() (queueDepth, workerRestarts int) {
	if g.store != nil {
		stats, err := g.store.Stats(context.Background())
		if err != nil {
			g.log.Warn("queue could not be counted", zap.Error(err))
		}
		queueDepth = stats.Queued + stats.Running
	}
	if g.workers != nil {
		workerRestarts = g.workers.Restarts()
	}
	return queueDepth, workerRestarts
}

// open opens what has to be open before the first poll.
func (g *gateway) open(ctx context.Context) (err error) {
	floor, err := poller.LoadCursor(ctx, g.pollerConfig())
	if err != nil {
		return err
	}
	if g.db, err = store.Open(ctx, g.Store, g.log.Named("store")); err != nil {
		return err
	}
	if g.bot, err = botapi.New(botapi.Options{Token: g.Token, BaseURL: g.APIURL, OnRetry: g.retried}); err != nil {
		return err
	}
	me, err := g.meet(ctx)
	if err != nil {
		return err
	}
	g.log.Info("serving", zap.Int64("bot_id", me.ID), zap.String("bot", me.Username), zap.String("mode", g.OrchestratorMode))
	if g.store, err = g.db.Acquire(ctx, store.Bot{ID: me.ID, Username: me.Username, Fingerprint: store.Fingerprint(g.Token())}, floor); err != nil {
		return err
	}
	return g.assemble(me)
}

func (g *gateway) retried(operation string) {
	if operation == "getUpdates" || operation == "getMe" {
		g.tracker.FetchRetried()
	}
}

// meet asks Telegram who the bot is, for as long as it takes unless once. A try
// that fails is a failed cycle, for no update can be fetched; also where the token
// is refused, since in continuous mode no failed cycle ends the program.
func (g *gateway) meet(ctx context.Context) (botapi.User, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		started := time.Now()
		me, err := g.bot.GetMe(ctx)
		if err == nil || ctx.Err() != nil {
			return me, errors.Join(err, ctx.Err())
		}
		g.tracker.Begin(started).Fetched(cycle.Batch{FetchTime: time.Since(started), Failed: err})
		var refused *botapi.Error
		if errors.As(err, &refused) && refused.Kind == botapi.KindAPI && (refused.Code == http.StatusUnauthorized || refused.Code == http.StatusNotFound) {
			err = &TokenError{Code: refused.Code}
		}
		if g.Once {
			return me, fmt.Errorf("%w: %w", ErrCycleFailed, err)
		}
		g.log.Error("Telegram does not say who the bot is", zap.Error(err), zap.Duration("next_in", wait))
		select {
		case <-ctx.Done():
			return me, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// assemble builds the parts that need the bot.
func (g *gateway) assemble(me botapi.User) (err error) {
	if g.OrchestratorMode == ModeCodex {
		targets := g.OrchestratorAddrs
		if targets == nil {
			targets = []string{DefaultOrchestratorAddr}
		}
		if g.workers, err = workers.New(workers.Config{Targets: targets, Dialer: g.Dialer, Log: g.log.Named("workers")}); err != nil {
			return err
		}
	}
	g.sender = delivery.NewSender(delivery.Config{Store: g.store, Bot: g.bot, Reports: g.tracker, Budget: delivery.NewBudget(g.SendRate),
		OnSuccess: g.AckPolicy == AckOnSuccess, Once: g.Once, Log: g.log.Named("delivery")})
	g.dispatch = dispatch.New(dispatch.Config{Store: g.store, Workers: g.workers, Reports: g.tracker, Posted: g.sender.Wake,
		Typing: g.sender.Typing, Pressed: g.sender.Pressed, Notify: g.NotifyOnError, OnSuccess: g.AckPolicy == AckOnSuccess,
		Once: g.Once, SessionMax: g.SessionMax, SessionIdle: g.SessionIdleTTL, Evicted: g.sender.Forget, Log: g.log.Named("dispatch"),
		Turn: dispatch.Turn{Timeout: g.TurnTimeout, WorkingDir: g.WorkingDir, Sandbox: g.SandboxMode, Model: g.Model}})
	config := g.pollerConfig()
	config.Bot, config.Store, config.Wake = g.bot, g.store, g.dispatch.Wake
	config.Gate = admission.NewGate(admission.Policy{Allowed: g.AllowedChatIDs, Open: g.OrchestratorMode == ModeDefault, Username: me.Username})
	g.poller = poller.New(config)
	return nil
}

func (g *gateway) pollerConfig() poller.Config {
	return poller.Config{Tracker: g.tracker, CursorPath: g.CursorStatePath, Strict: g.StrictCursorState, LongPoll: g.LongPoll,
		Interval: g.PollInterval, Once: g.Once, Echo: g.OrchestratorMode == ModeDefault, Log: g.log.Named("poller")}
}

// unopened judges why the gateway could not begin. Every cycle ends in a report,
// also one that could not begin.
func (g *gateway) unopened(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	g.tracker.Flush()
	if !g.Once || errors.Is(err, ErrCycleFailed) {
		return err
	}
	if !g.failed.Load() {
		g.tracker.Begin(time.Now()).Failed(cycle.ProcessOnceFailed, err)
		g.tracker.Flush()
	}
	return fmt.Errorf("%w: %w", ErrCycleFailed, err)
}

func (g *gateway) close() error {
	g.tracker.Flush()
	var errs []error
	if g.workers != nil {
		errs = append(errs, g.workers.Close())
	}
	if g.bot != nil {
		g.bot.CloseIdleConnections()
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	return errors.Join(errs...)
}
