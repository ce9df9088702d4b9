// Package delivery empties the outbox into Telegram. It exists because sending is
// where answers get lost: it keeps to the rates that Telegram grants without ever
// letting an answer wait behind typing, obeys each chat's retry_after, and counts
// the messages of which nobody can know whether they arrived.
package delivery

import (
	"context"
	"sync"
	"time"
)

// What Telegram grants: about a message a second in a chat, where short bursts
// pass, and 20 a minute in a group.
const (
	chatInterval = time.Second
	chatBurst    = 3
	groupWindow  = time.Minute
	groupCount   = 20
)

// Class is how much a call matters.
type Class int

const (
	// Essential calls carry what a person waits for: they wait their turn and are
	// never left out.
	Essential Class = iota
	// Cosmetic calls, chat actions and edits that show progress, go only where
	// there is room to spare, at once or not at all. Telegram counts them as it
	// counts messages, so that each one could otherwise delay an answer.
	Cosmetic
)

// Budget says when Telegram may be called again, for a chat and over all chats.
// Every call counts in the same budget, whatever it does: separate ones add up
// to more than Telegram grants. It is safe for concurrent use.
type Budget struct {
	paced bool

	mu      sync.Mutex
	overall meter
	chats   map[int64]*account
	sweepAt int // how many accounts there may be before idle ones are forgotten
}

// account is what a chat has used.
type account struct {
	meter  meter
	recent []time.Time // the last groupCount calls, of a group
	held   time.Time   // nothing may be sent before
}

const minSweep = 1024

// NewBudget returns a budget of rate calls a second over all chats. 0: nothing is
// paced, in no chat either; only what Hold says is obeyed.
func NewBudget(rate float64) *Budget {
	b := &Budget{paced: rate > 0, chats: map[int64]*account{}, sweepAt: minSweep}
	if b.paced {
		// A fifth of a second's calls at once: with more, the first second would
		// hold twice the rate.
		b.overall = meter{interval: time.Duration(float64(time.Second) / rate), burst: max(1, int(rate/5))}
	}
	return b
}

// Reserve asks for one call to a chat at a time that never goes back. Granted:
// the call is counted and may be made after wait. Not granted: nothing is
// counted, and an Essential call may be asked for again after wait; a Cosmetic
// one is to be left out.
func (b *Budget) Reserve(now time.Time, chatID int64, group bool, class Class) (wait time.Duration, granted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	a := b.account(chatID)
	if wait := a.held.Sub(now); wait > 0 {
		return wait, false
	}
	if !b.paced {
		return 0, true
	}
	if class == Cosmetic && !b.spare(now, a, group) {
		return 0, false
	}
	if wait := a.next(now, group).Sub(now); wait > 0 {
		return wait, false
	}
	// The place in the line over all chats is kept from here on, so that no chat
	// is overtaken for ever. It is asked for only once the chat itself is ready:
	// a place far in the future would hold up the others.
	at := b.overall.next(now)
	b.overall.take(at)
	a.take(at, group)
	return at.Sub(now), true
}

// spare says whether a cosmetic call leaves messages unhindered: the chat has its
// whole burst, a group half of its minute, and half of the overall burst is left.
func (b *Budget) spare(now time.Time, a *account, group bool) bool {
	return a.meter.used(now) == 0 && (!group || a.within(now) < groupCount/2) &&
		!b.overall.next(now).After(now) && 2*b.overall.used(now) <= b.overall.burst
}

// Hold lets nothing go to a chat before a time, which a retry_after gave. It
// never shortens an earlier one.
func (b *Budget) Hold(chatID int64, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(chatID)
	if until.After(a.held) {
		a.held = until
	}
}

// Held is until when nothing may go to a chat; zero or past: it may.
func (b *Budget) Held(chatID int64) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.chats[chatID]; a != nil {
		return a.held
	}
	return time.Time{}
}

// Wait waits until an essential call to a chat may be made, and counts it. It
// fails when ctx ends first.
func (b *Budget) Wait(ctx context.Context, chatID int64, group bool) error {
	for {
		wait, granted := b.Reserve(time.Now(), chatID, group, Essential)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if granted {
			return nil
		}
	}
}

// Try counts a cosmetic call to a chat if there is room to spare for it now.
func (b *Budget) Try(chatID int64, group bool) bool {
	_, granted := b.Reserve(time.Now(), chatID, group, Cosmetic)
	return granted
}

func (b *Budget) account(chatID int64) *account {
	a := b.chats[chatID]
	if a == nil {
		a = &account{meter: meter{interval: chatInterval, burst: chatBurst}}
		b.chats[chatID] = a
	}
	return a
}

// forget lets go of chats that are as if they had never been called.
func (b *Budget) forget(now time.Time) {
	if len(b.chats) < b.sweepAt {
		return
	}
	for id, a := range b.chats {
		if a.idle(now) {
			delete(b.chats, id)
		}
	}
	b.sweepAt = max(minSweep, 2*len(b.chats))
}

// next is when the chat may be called again, never before now.
func (a *account) next(now time.Time, group bool) time.Time {
	at := a.meter.next(now)
	if group && len(a.recent) == groupCount {
		if free := a.recent[0].Add(groupWindow); free.After(at) {
			return free
		}
	}
	return at
}

func (a *account) take(at time.Time, group bool) {
	a.meter.take(at)
	if !group {
		return
	}
	if len(a.recent) == groupCount {
		a.recent = append(a.recent[:0], a.recent[1:]...)
	}
	a.recent = append(a.recent, at)
}

// within counts the calls of the last minute.
func (a *account) within(now time.Time) int {
	n := 0
	for _, at := range a.recent {
		if at.Add(groupWindow).After(now) {
			n++
		}
	}
	return n
}

func (a *account) idle(now time.Time) bool {
	return a.meter.used(now) == 0 && a.within(now) == 0 && !a.held.After(now)
}

// meter grants burst calls at once and one more each interval (the generic cell
// rate algorithm). It keeps one time: when its burst is whole again.
type meter struct {
	interval time.Duration
	burst    int
	whole    time.Time
}

// next is when a call may be made, never before now.
func (m *meter) next(now time.Time) time.Time {
	at := m.whole.Add(-time.Duration(m.burst-1) * m.interval)
	if at.Before(now) {
		return now
	}
	return at
}

func (m *meter) take(at time.Time) {
	if m.whole.Before(at) {
		m.whole = at
	}
	m.whole = m.whole.Add(m.interval)
}

// used is how many calls of the burst are taken.
func (m *meter) used(now time.Time) int {
	missing := m.whole.Sub(now)
	if missing <= 0 {
		return 0
	}
	return int((missing + m.interval - 1) / m.interval)
}
