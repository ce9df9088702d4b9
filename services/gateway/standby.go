package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

// releaseLimit is how long giving the bot up may take at the end.
const releaseLimit = 2 * time.Second

// openStore opens the store. One in which damage was met is mended first, unless
// another gateway has it: then that one has to end before.
func (g *gateway) openStore(ctx context.Context) (err error) {
	g.waitFor("the store is being opened")
	log := g.log.Named("store")
	if store.Suspect(g.Store) {
		err = store.Mend(ctx, g.Store, log)
		if held := (*store.HeldError)(nil); err != nil && !errors.As(err, &held) {
			return damaged(err)
		}
	}
	g.db, err = store.Open(ctx, g.Store, log)
	if sqldb.KindOf(err) == sqldb.Corrupt {
		if err = store.Mend(ctx, g.Store, log); err == nil {
			g.db, err = store.Open(ctx, g.Store, log)
		}
	}
	if err != nil {
		return damaged(err)
	}
	g.db.Observe(g.meter.Committed)
	return nil
}

// hold takes the bot as soon as no other gateway has it. Damage that shows then is
// mended once.
func (g *gateway) hold(ctx context.Context, me botapi.User, floor *int64) (err error) {
	g.waitFor("the store has not said yet whether another gateway serves the bot")
	bot := store.Bot{ID: me.ID, Username: me.Username, Fingerprint: store.Fingerprint(g.Token())}
	terms := store.Terms{TTL: g.LeaseTTL, Waiting: g.standBy, Impatient: g.Once}
	g.held, err = g.db.Await(ctx, bot, floor, terms)
	if store.Suspect(g.Store) && sqldb.KindOf(err) == sqldb.Corrupt {
		err = g.db.Close()
		if g.db = nil; err == nil {
			err = g.openStore(ctx)
		}
		if err == nil {
			g.held, err = g.db.Await(ctx, bot, floor, terms)
		}
	}
	g.standby.Store(false)
	return damaged(err)
}

// DamagedError says that the store is damaged, what is left, and what can be done.
type DamagedError struct{ Err error }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%v: the store is damaged, not every row of it can be read, and nothing was changed; what was not yet stored stays at Telegram; "+
		"restore the store from its backup, or move it away, then sessions and open turns are forgotten and polls begin at the cursor file", e.Err)
}

// Unwrap returns what failed.
func (e *DamagedError) Unwrap() error { return e.Err }

// damaged adds to the error of a store that cannot be read what is left, and what
// can be done.
func damaged(err error) error {
	told := (*DamagedError)(nil)
	if sqldb.KindOf(err) != sqldb.Corrupt || errors.As(err, &told) {
		return err
	}
	return &DamagedError{Err: err}
}

// ErrDamageMet says that the store turned out to be damaged while the gateway
// served from it.
var ErrDamageMet = errors.New("the store is damaged: the gateway ends, so that it is mended at the next start; " +
	"what was not yet stored stays at Telegram; start it again")

// watchStore ends a gateway whose store turns out to be damaged: what it would do
// next might rest on what cannot be read.
func (g *gateway) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.db.Damaged():
		return ErrDamageMet
	}
}

// ended is what the gateway ends with; a part may have met the damage first.
func (g *gateway) ended(err error) error {
	told := (*DamagedError)(nil)
	if sqldb.KindOf(err) != sqldb.Corrupt || errors.As(err, &told) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamageMet, err)
}

// standBy notes that another gateway serves the bot.
func (g *gateway) standBy() {
	g.standby.Store(true)
	g.waitFor("standby: another gateway serves the bot; this one takes over when that one ends or falls silent")
}

// permit is asked before each call of the Bot API. A process that was frozen
// between writing that it would call and calling finds out here that another one
// has taken over.
func (g *gateway) permit(ctx context.Context) error {
	if g.held == nil {
		return nil
	}
	return g.held.Hold(ctx)
}

// release lets another gateway begin at once. One that has begun already, or a
// store that cannot be reached, makes it needless or impossible.
func (g *gateway) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseLimit)
	defer cancel()
	if err := g.held.Release(ctx); err != nil {
		g.log.Info("the bot could not be released", zap.Error(err))
	}
}
