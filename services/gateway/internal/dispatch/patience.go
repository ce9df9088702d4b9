package dispatch

import (
	"math/rand/v2"
	"time"

	"telecodex.dev/services/gateway/internal/lane"
)

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// patience is how a lane bears with a head that gets nowhere. Only progress ends
// it: a stream that opens and breaks, again and again, is none.
type patience struct {
	since    time.Time     // of the first failure after the last progress; zero: none
	next     time.Duration // the next pause; 0: the first one
	reported bool          // it was said that it lasts too long
}

func (p *patience) failed() {
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

// again begins to wait anew once it was said that it lasts too long.
func (p *patience) again() bool {
	if !p.reported {
		return false
	}
	p.since, p.reported = time.Now(), false
	return true
}

func (p *patience) progressed() { *p = patience{} }

// answered notes that the worker, though it cannot run the turn yet, is well.
func (p *patience) answered() { p.since, p.reported = time.Time{}, false }

// pause is how long to wait before the next try, longer each time.
func (p *patience) pause() time.Duration {
	d := max(p.next, firstPause)
	p.next = min(2*d, lastPause)
	return d/2 + rand.N(d)
}

const (
	firstPostponement = time.Second
	lastPostponement  = time.Minute
)

// postponed is how a lane bears with a head that Codex could not be started for.
type postponed struct {
	times   int    // in a row
	message string // of the last time
}

// pause is how long to wait before the next try, longer each time.
func (p *postponed) pause() time.Duration {
	d := min(firstPostponement<<min(p.times-1, 10), lastPostponement)
	return d/2 + rand.N(d/2)
}

// resting says whether the lane waits for the time to try a head again that was
// not started.
func (r *runner) resting() bool { return r.postponed.times > 0 && r.state.Phase == lane.Loading }
