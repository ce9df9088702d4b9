package dispatch

import (
	"math/rand/v2"
	"time"
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

func (p *patience) progressed() { *p = patience{} }

// answered notes that the worker, though it cannot run the turn yet, is well.
func (p *patience) answered() { p.since, p.reported = time.Time{}, false }

// pause is how long to wait before the next try, longer each time.
func (p *patience) pause() time.Duration {
	d := max(p.next, firstPause)
	p.next = min(2*d, lastPause)
	return d/2 + rand.N(d)
}
