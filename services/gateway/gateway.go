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

	"github.com/google/uuid"
	"go.uber.org/zap"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/delivery"
	"telecodex.dev/services/gateway/internal/dispatch"
	"telecodex.dev/services/gateway/internal/heartbeat"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/operator"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/tracing"
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
	// noteLimit is how long noting a worker's process may take.
	noteLimit = 5 * time.Second
	// traceGrace is how long the last spans may take to be sent.
	traceGrace = 2 * time.Second
)

// gateway is one Run.
type gateway struct {
	Config
	log     *zap.Logger
	failed  atomic.Bool // a report said so, or could not be written
	cycles  *operator.Cycles
	tracker *cycle.Tracker
	meter   *meters.Meter
	trace   *tracing.Tracer

	bot  *botapi.Client
	db   *store.DB
	held *store.Store

	// Those who ask from outside are answered before the parts are there.
	parts  atomic.Pointer[parts]
	stands atomic.Pointer[string] // why they are not there yet
	asked  atomic.Bool            // for a poll, before there was a poller
	// standby: another gateway has the bot.
	standby atomic.Bool
	dialing atomic.Pointer[rpc.DialOptions] // how workers are called; nil: not known yet
}

// parts do the work, once the bot is known.
type parts struct {
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
// While another gateway serves the bot it stands by, or gives up with Config.Once.
//
// Errors: ErrCycleFailed; *TokenError; *store.HeldError with Config.Once when
// another gateway serves the bot, *store.FencedError when one has taken it over;
// those of the store and the listeners.
func Run(ctx context.Context, config Config) (err error) {
	g := newGateway(config)
	for _, warning := range config.Warnings {
		g.log.Warn(warning)
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if g.trace, err = tracing.New(ctx, tracing.Options{Endpoint: g.OTLPEndpoint, Service: "telecodex-gateway", Instance: uuid.NewString(),
		Log: g.log.Named("tracing")}); err != nil {
		return err
	}
	return g.run(ctx)
}

// CouldNotBegin is Run with Config.Once where something else that the cycle needs
// could not begin: its report says why. The error is ErrCycleFailed.
func CouldNotBegin(ctx context.Context, config Config, why error) error {
	g := newGateway(config)
	return errors.Join(g.unopened(ctx, why), g.close())
}

func newGateway(config Config) *gateway {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.Stdout == nil {
		config.Stdout = io.Discard
	}
	g := &gateway{Config: config, log: config.Log, cycles: operator.NewCycles(), meter: meters.New()}
	g.waitFor("the gateway has only just begun")
	options := cycle.Options{Gauges: g.gauges, Progress: g.cycles.Progress, OnSuccess: config.AckPolicy == AckOnSuccess}
	if config.HeartbeatURL != "" {
		options.Heartbeat = heartbeat.New(heartbeat.Options{URL: config.HeartbeatURL, Log: g.log.Named("heartbeat")}).Post
	}
	g.tracker = cycle.NewTracker(g.report, options)
	return g
}

// report prints a cycle's report. With --once, one that nobody can read is a failure.
func (g *gateway) report(r *telemetryv1.CycleReport) {
	if r.GetStatus() == "failed" {
		g.failed.Store(true)
	}
	g.meter.Reported(r)
	line, err := cycle.JSON(r)
	if err == nil {
		_, err = g.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		g.failed.Store(true)
		g.log.Error("report could not be written", zap.Error(err))
	}
}

// gauges are what a report says of now.
func (g *gateway) gauges() (queueDepth, workerRestarts int) {
	p := g.parts.Load()
	if p == nil {
		return 0, 0
	}
	stats, err := p.store.Stats(context.Background())
	if err != nil {
		g.log.Warn("queue could not be counted", zap.Error(err))
	}
	if p.workers != nil {
		workerRestarts = p.workers.Restarts()
	}
	return stats.Queued + stats.Running, workerRestarts
}

// open opens what has to be open before the first poll.
func (g *gateway) open(ctx context.Context) (err error) {
	floor, err := poller.LoadCursor(ctx, g.pollerConfig())
	if err != nil {
		return err
	}
	if err := g.openStore(ctx); err != nil {
		return err
	}
	if g.bot, err = botapi.New(botapi.Options{Token: g.Token, BaseURL: g.APIURL, OnRetry: g.retried, OnMalformedUpdates: g.meter.Malformed, Permit: g.permit}); err != nil {
		return err
	}
	g.waitFor("Telegram has not said yet who the bot is")
	me, err := g.meet(ctx)
	if err != nil {
		return err
	}
	if err := g.hold(ctx, me, floor); err != nil {
		return err
	}
	g.log.Info("serving", zap.Int64("bot_id", me.ID), zap.String("bot", me.Username), zap.String("mode", g.OrchestratorMode))
	return g.assemble(g.held)
}

func (g *gateway) retried(operation string) {
	g.meter.Retried(operation)
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
		g.waitFor("Telegram does not say who the bot is: " + err.Error())
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

// assemble builds the parts for the bot that holds the store.
func (g *gateway) assemble(held *store.Store) (err error) {
	p := &parts{store: held}
	if g.OrchestratorMode == ModeCodex {
		if p.workers, err = g.directory(held); err != nil {
			return err
		}
	}
	p.sender = delivery.NewSender(delivery.Config{Store: held, Bot: g.bot, Reports: g.tracker, Budget: delivery.NewBudget(g.SendRate),
		OnSuccess: g.AckPolicy == AckOnSuccess, Once: g.Once, Meter: g.meter, Trace: g.trace, Log: g.log.Named("delivery")})
	p.dispatch = dispatch.New(dispatch.Config{Store: held, Workers: p.workers, Reports: g.tracker, Posted: p.sender.Wake,
		Typing: p.sender.Typing, Pressed: p.sender.Pressed, Decided: p.sender.Amend, Notify: g.NotifyOnError, OnSuccess: g.AckPolicy == AckOnSuccess,
		Once: g.Once, InterruptedWait: g.InterruptedWait, SessionMax: g.SessionMax, SessionIdle: g.SessionIdleTTL, Evicted: p.sender.Forget, Meter: g.meter, Trace: g.trace, Log: g.log.Named("dispatch"),
		Turn: dispatch.Turn{Timeout: g.TurnTimeout, WorkingDir: g.WorkingDir, Sandbox: g.SandboxMode, Model: g.Model}})
	config := g.pollerConfig()
	config.Bot, config.Store, config.Wake, config.Moved = g.bot, held, p.dispatch.Wake, p.sender.Wake
	config.Gate = admission.NewGate(admission.Policy{Allowed: g.AllowedChatIDs, Open: g.OrchestratorMode == ModeDefault,
		Username: held.Bot().Username})
	p.poller = poller.New(config)
	g.parts.Store(p)
	g.passOn()
	return nil
}

// directory knows the workers that earlier gateways of the bot have met, and notes
// whom it meets.
func (g *gateway) directory(held *store.Store) (*workers.Directory, error) {
	config := workers.Config{Targets: g.OrchestratorAddrs, Lost: g.WorkerLost, Log: g.log.Named("workers")}
	if config.Targets == nil {
		config.Targets = []string{DefaultOrchestratorAddr}
	}
	var err error
	if config.Dial, err = g.dial(config.Log); err != nil {
		return nil, err
	}
	g.dialing.Store(&config.Dial)
	known, err := held.KnownWorkers(context.Background())
	if err != nil {
		return nil, err
	}
	for _, w := range known {
		config.Known = append(config.Known, workers.Process(w))
	}
	config.Met = func(p workers.Process) {
		// What cannot be noted is counted by the next gateway once more.
		ctx, cancel := context.WithTimeout(context.Background(), noteLimit)
		defer cancel()
		if err := held.MeetWorker(ctx, store.KnownWorker(p)); err != nil {
			g.log.Warn("the worker's process could not be noted", zap.String("worker", p.WorkerID), zap.Error(err))
		}
	}
	return workers.New(config)
}

func (g *gateway) pollerConfig() poller.Config {
	return poller.Config{Tracker: g.tracker, CursorPath: g.CursorStatePath, Strict: g.StrictCursorState, LongPoll: g.LongPoll,
		Interval: g.PollInterval, Once: g.Once, Echo: g.OrchestratorMode == ModeDefault, Meter: g.meter, Trace: g.trace, Log: g.log.Named("poller")}
}

// unopened judges why the gateway could not begin. Every cycle ends in a report,
// also one that could not begin.
func (g *gateway) unopened(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	g.tracker.Flush() // a report that is under way may say that it failed
	if !g.Once || errors.Is(err, ErrCycleFailed) {
		return err
	}
	if !g.failed.Load() {
		g.tracker.Begin(time.Now()).Failed(cycle.ProcessOnceFailed, err)
	}
	return fmt.Errorf("%w: %w", ErrCycleFailed, err)
}

func (g *gateway) close() error {
	g.tracker.Flush()
	var errs []error
	if p := g.parts.Load(); p != nil && p.workers != nil {
		errs = append(errs, p.workers.Close())
	}
	if g.bot != nil {
		g.bot.CloseIdleConnections()
	}
	if g.held != nil {
		g.release()
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceGrace)
	defer cancel()
	g.trace.Close(ctx)
	return errors.Join(errs...)
}
