package gateway

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

// releaseLimit is how long giving the bot up may take at the end.
const releaseLimit = 2 * time.Second

// hold takes the bot as soon as no other gateway has it.
func (g *gateway) hold(ctx context.Context, me botapi.User, floor *int64) (err error) {
	g.waitFor("the store has not said yet whether another gateway serves the bot")
	bot := store.Bot{ID: me.ID, Username: me.Username, Fingerprint: store.Fingerprint(g.Token())}
	g.held, err = g.db.Await(ctx, bot, floor, store.Terms{TTL: g.LeaseTTL, Waiting: g.standBy, Impatient: g.Once})
	g.standby.Store(false)
	return err
}

// damaged adds to the error of a store that cannot be read what is left, and what
// can be done.
func damaged(err error) error {
	if sqldb.KindOf(err) != sqldb.Corrupt {
		return err
	}
	return fmt.Errorf("%w: the store is damaged, and nothing was changed; what it promised is in its backup: restore that, "+
		"or move the store away, then sessions and open turns are forgotten and polls begin at the cursor file", err)
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
