package gateway

import (
	"context"
	"time"

	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
)

// scrapeLimit is how long looking at the store may take.
const scrapeLimit = 2 * time.Second

// watched has the meter look at the parts, once they are there, at each scrape.
func (g *gateway) watched() {
	g.meter.Watch(func() (now meters.Now) {
		now.Kept = store.Kept(g.Store)
		p := g.parts.Load()
		if p == nil {
			return now
		}
		now.Held = &meters.Lease{Epoch: p.store.Epoch(), Silent: p.store.Silent(), TookOver: p.store.TookOver()}
		ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
		defer cancel()
		if survey, err := p.store.Survey(ctx); err == nil {
			now.Survey = &survey
		}
		now.LastPoll = p.poller.LastSuccess()
		now.Lanes, now.Sessions = p.dispatch.Held()
		now.Chats = p.sender.Known()
		if p.workers != nil {
			now.Workers, now.Restarts = p.workers.Workers(), p.workers.Restarts()
		}
		return now
	})
}
