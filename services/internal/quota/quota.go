// Package quota keeps one client of a server from taking what others need: it
// counts each client's calls, those a second and those that are open. What it
// remembers is bounded, whoever calls.
package quota

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are those of each client.
type Limits struct {
	Rate float64 // calls a second, and twice as many at once; 0: no limit
	Open int     // calls that are open; 0: no limit
}

const (
	// maxClients are remembered one by one. The others share one account.
	maxClients = 4096
	// idle is how long a client without an open call is remembered, at least: by then
	// its account is full again.
	idle = 10 * time.Second
	// retryOpen is when one with too many open calls may try again.
	retryOpen = time.Second
)

// Clients are the accounts of a server's clients.
type Clients struct {
	limits Limits

	mu       sync.Mutex
	accounts map[string]*account
	others   *account
	swept    time.Time
}

type account struct {
	calls *rate.Limiter
	open  int
	last  time.Time
}

// New returns accounts without a client.
func New(limits Limits) *Clients {
	c := &Clients{limits: limits, accounts: map[string]*account{}}
	c.others = c.account()
	return c
}

func (c *Clients) account() *account {
	a := &account{calls: rate.NewLimiter(rate.Inf, 0)}
	if c.limits.Rate > 0 {
		a.calls = rate.NewLimiter(rate.Limit(c.limits.Rate), max(1, int(2*c.limits.Rate)))
	}
	return a
}

// Begin counts a call of a client. With ok it is let in, and end must be called
// once when it has ended; else it may try again after retry.
func (c *Clients) Begin(client string) (end func(), retry time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	a := c.of(client, now)
	a.last = now
	if c.limits.Open > 0 && a.open >= c.limits.Open {
		return nil, retryOpen, false
	}
	if r := a.calls.ReserveN(now, 1); r.DelayFrom(now) > 0 {
		retry = r.DelayFrom(now)
		r.CancelAt(now)
		return nil, retry, false
	}
	a.open++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		a.open--
	}, 0, true
}

// of finds a client's account; the caller holds mu.
func (c *Clients) of(client string, now time.Time) *account {
	if a := c.accounts[client]; a != nil {
		return a
	}
	if len(c.accounts) >= maxClients {
		c.sweep(now)
	}
	if len(c.accounts) >= maxClients {
		return c.others
	}
	a := c.account()
	c.accounts[client] = a
	return a
}

// sweep forgets who does nothing; the caller holds mu.
func (c *Clients) sweep(now time.Time) {
	if now.Sub(c.swept) < idle {
		return // a crowd must not make each of its calls dear
	}
	c.swept = now
	for name, a := range c.accounts {
		if a.open == 0 && now.Sub(a.last) >= idle {
			delete(c.accounts, name)
		}
	}
}
