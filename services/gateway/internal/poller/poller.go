// Package poller takes updates from Telegram: it asks for them, judges them,
// commits them together with the cursor, and only then lets Telegram forget
// them, by asking for the next. There is one poller for a bot; whatever fails,
// it says so in the cycle's report and goes on.
package poller

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/tracing"
)

// Config is what a poller works with.
type Config struct {
	Bot     *botapi.Client
	Store   *store.Store
	Gate    admission.Gate
	Tracker *cycle.Tracker
	// CursorPath is the cursor file, rewritten after each commit; empty: none.
	CursorPath string
	// Strict makes a cursor file that cannot be written fail the cycle, where
	// otherwise it is only diagnosed.
	Strict bool
	// LongPoll is how long Telegram waits for updates; 0: short polls, Interval
	// apart.
	LongPoll time.Duration
	Interval time.Duration
	// Once ends Run after one poll, which does not wait for updates.
	Once bool
	// Echo makes every message an echo: no worker is asked.
	Echo bool
	// Wake is told of what a commit has brought: sessions with new work in their
	// lanes, and whether there are commands.
	Wake func(sessions []string, commands bool)
	// Moved is told that what waits for a group goes to a supergroup now; nil: nobody
	// is.
	Moved func(chatID int64)
	Meter *meters.Meter
	Trace *tracing.Tracer
	Log   *zap.Logger
}

// Poller is the one that polls for a bot.
type Poller struct {
	Config
	asked   chan struct{}             // PollNow was called
	success atomic.Pointer[time.Time] // of the last poll that succeeded; nil: none has
	cursor  store.Cursor
	saved   int64 // what the cursor file holds; -1: not known
	failed  int   // polls since the last that succeeded
}

// New returns a poller that has not polled yet.
func New(c Config) *Poller {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Poller{Config: c, asked: make(chan struct{}, 1), saved: -1}
}

// LastSuccess is when getUpdates last succeeded; zero: never. How long ago that was
// does not depend on the clock, which may be set back: only the monotonic one is
// compared.
func (p *Poller) LastSuccess() time.Time {
	if at := p.success.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// PollNow makes the poller poll at once, without waiting for updates, and report
// that cycle whatever it fetches.
func (p *Poller) PollNow() {
	select {
	case p.asked <- struct{}{}:
	default: // it was asked already
	}
}

// AllowedUpdates are the types that admission understands.
func AllowedUpdates() []string { return []string{"message", "callback_query"} }

// Run polls until ctx ends, or once. It fails only when another gateway has
// taken over (*store.FencedError) or the store cannot be read at its start;
// failed polls are reported and repeated.
func (p *Poller) Run(ctx context.Context) (err error) {
	if p.cursor, err = p.Store.Cursor(ctx); err != nil {
		return endedBy(ctx, err)
	}
	short := p.LongPoll == 0 || p.Once
	for {
		asked, wait, err := p.cycle(ctx, short)
		if store.Fenced(err) {
			return err
		}
		if p.Once || ctx.Err() != nil {
			return nil
		}
		if !asked {
			asked = p.pause(ctx, wait)
		}
		if ctx.Err() != nil {
			return nil
		}
		short = p.LongPoll == 0 || asked
	}
}

// endedBy is nil for an error that is only the end of ctx.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pause waits, but not longer than until the next PollNow.
func (p *Poller) pause(ctx context.Context, wait time.Duration) (asked bool) {
	if wait <= 0 {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.asked:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// cycle polls once. wait is how long to wait before the next poll; asked says
// that PollNow has cut this one short.
func (p *Poller) cycle(ctx context.Context, short bool) (asked bool, wait time.Duration, err error) {
	started, first := time.Now(), p.LastSuccess().IsZero()
	c := p.Tracker.Begin(started)
	// That Telegram can be reached is known only when a poll has succeeded: the
	// first one does not wait for updates.
	updates, asked, err := p.fetch(ctx, short || first)
	took := time.Since(started)
	switch {
	case asked || ctx.Err() != nil:
		// What was fetched, if anything, is not confirmed and comes again.
		c.Empty(took)
		p.Meter.Polled(meters.PollCut)
		return asked, 0, nil
	case err != nil:
		return false, p.fetchFailed(ctx, c, err, took), p.checkLease(ctx, err)
	}
	p.failed = 0
	p.Meter.Polled(meters.PollOK)
	now := time.Now()
	p.success.Store(&now)
	if len(updates) == 0 {
		b := cycle.Batch{FetchTime: took, Failed: p.save(c)}
		if short || b.Failed != nil {
			c.Fetched(b)
			return false, p.Interval, nil
		}
		c.Empty(took)
		if first {
			return false, 0, nil
		}
		// A server that does not wait must not be asked all the time.
		return false, p.Interval - took, nil
	}
	before := p.cursor
	crashpoint.Here(crashpoint.Fetched)
	if err := p.commit(ctx, c, updates, took); err != nil {
		return false, p.backoff(), err
	}
	if short || p.cursor.NextOffset == before.NextOffset {
		// Nothing was new: the server will send the same again.
		return false, p.Interval, nil
	}
	return false, 0, nil
}

// fetch calls getUpdates. A long poll is given up when PollNow is called.
func (p *Poller) fetch(ctx context.Context, short bool) (updates []botapi.Update, asked bool, err error) {
	request := botapi.GetUpdates{Offset: p.cursor.NextOffset, Limit: 100, AllowedUpdates: AllowedUpdates()}
	if short {
		updates, err = p.Bot.GetUpdates(ctx, request)
		return updates, false, err
	}
	request.Timeout = p.LongPoll
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan bool)
	go func() {
		select {
		case <-p.asked:
			cancel()
			watched <- true
		case <-ctx.Done():
			watched <- false
		}
	}()
	updates, err = p.Bot.GetUpdates(ctx, request)
	cancel()
	return updates, <-watched, err
}

// fetchFailed reports a failed getUpdates and says how long to wait.
func (p *Poller) fetchFailed(ctx context.Context, c *cycle.Cycle, err error, took time.Duration) time.Duration {
	c.Fetched(cycle.Batch{FetchTime: took, Failed: err})
	wait, outcome := p.backoff(), meters.PollFailed
	defer func() { p.Meter.Polled(outcome) }()
	var failure *botapi.Error
	if errors.As(err, &failure) {
		if failure.Conflict() {
			outcome = meters.PollConflict
			// Another poller, or a webhook. Two that insist would go on killing
			// each other's polls in step; chance lets one of them win.
			p.Log.Error("another poller or a webhook takes the bot's updates", zap.Int64("bot_id", p.Store.Bot().ID))
			return 3*time.Second + rand.N(4*time.Second)
		}
		wait = max(wait, failure.RetryAfter)
	}
	p.Log.Warn("poll failed", zap.Error(err), zap.Duration("next_in", wait))
	return wait
}

// checkLease asks after a conflict whether this gateway still holds the bot.
func (p *Poller) checkLease(ctx context.Context, err error) error {
	var failure *botapi.Error
	if !errors.As(err, &failure) || !failure.Conflict() {
		return nil
	}
	return p.Store.Beat(ctx)
}

const maxBackoff = 30 * time.Second

// backoff doubles the interval with each failure in a row.
func (p *Poller) backoff() time.Duration {
	p.failed++
	wait := max(p.Interval, 100*time.Millisecond) << min(p.failed-1, 10)
	wait = max(min(wait, maxBackoff), p.Interval)
	return wait/2 + rand.N(wait/2+1)
}
