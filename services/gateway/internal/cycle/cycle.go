// Package cycle counts what becomes of each fetched batch of updates and reports
// it as one telemetry.v1.CycleReport, once the last update of the batch is
// settled. Batches overlap: a long turn of one holds back no other's report.
package cycle

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/store"
)

// Options are what a tracker needs besides a place for its reports.
type Options struct {
	// Gauges gives the turns that wait or run now, and the workers seen to come
	// back since the start; nil: zeros.
	Gauges func() (queueDepth, workerRestarts int)
	// Progress is told of every step of every cycle, in order, while the tracker
	// is locked: it must not block; nil: nobody is.
	Progress func(Progress)
	// Heartbeat posts the failures of a report and says how many events it could
	// not post. It is called for reports with errors alone, and for what Unreported
	// is told, on a goroutine of its own: only the report it is called for waits for
	// it. nil: there is no receiver.
	Heartbeat func(*telemetryv1.CycleReport) (failures int)
	// OnSuccess counts an update that is left as not acknowledged. Otherwise every
	// update is acknowledged, whatever happened to it.
	OnSuccess bool
}

// Progress is how far a cycle is.
type Progress struct {
	Cycle   uint64 // number of the cycle, from 1
	Fetched int
	Settled int
	// Report is set with the last step; nil in it says that the batch was empty
	// and is not reported.
	Report *telemetryv1.CycleReport
	Last   bool
}

// Tracker follows the cycles that are open.
type Tracker struct {
	emit    func(*telemetryv1.CycleReport)
	options Options

	mu       sync.Mutex
	last     uint64
	open     []*Cycle
	updates  map[store.Key]*Cycle // those of open cycles that are not settled
	homeless []Detail             // for the next cycle
	retries  int                  // for the next cycle
	// early are results of updates that are not known to any cycle while a batch
	// is on its way: a lane may take up an update as soon as it is committed.
	early    map[store.Key]*early
	idle     chan struct{} // closed while no cycle is open
	emitting sync.Mutex
	posting  sync.WaitGroup // reports whose heartbeat is being posted
}

// NewTracker returns a tracker that hands each report to emit, one at a time.
func NewTracker(emit func(*telemetryv1.CycleReport), o Options) *Tracker {
	if o.Gauges == nil {
		o.Gauges = func() (int, int) { return 0, 0 }
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	t := &Tracker{emit: emit, options: o, updates: map[store.Key]*Cycle{}, early: map[store.Key]*early{}, idle: make(chan struct{})}
	close(t.idle)
	return t
}

// Cycle is one fetched batch.
type Cycle struct {
	tracker *Tracker
	number  uint64
	started time.Time
	fetched bool // its batch is known
	waiting map[store.Key]update
	settled int
	tally
}

// update is what a cycle keeps of an update while it waits for it.
type update struct {
	chatID    int64
	sessionID string
}

// Begin opens a cycle that started at a time.
func (t *Tracker) Begin(started time.Time) *Cycle {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) == 0 {
		t.idle = make(chan struct{})
	}
	t.last++
	c := &Cycle{tracker: t, number: t.last, started: started, waiting: map[store.Key]update{}}
	t.open = append(t.open, c)
	for _, d := range t.homeless {
		c.add(d)
	}
	c.retries, t.retries = t.retries, 0
	t.homeless = nil
	t.progress(c, nil, false)
	return c
}

// Batch is what became of a fetched batch when it was committed.
type Batch struct {
	Handed  []store.Update    // to be settled
	Dropped []store.Update    // refused by the allowlist
	Stale   []store.NewUpdate // below the floor
	Floor   int64             // the floor they are below
	// FetchTime is how long getUpdates took, retries included.
	FetchTime time.Duration
	Failed    error // getUpdates failed, or what it needs; nil: it succeeded
	// AckFailed says why no update of the batch can be acknowledged, though all of
	// them are worked off; nil: they can.
	AckFailed error
}

// Fetched says what a cycle has fetched. It is complete once every update handed
// on is settled, at once when there is none.
func (c *Cycle) Fetched(b Batch) {
	t := c.tracker
	t.mu.Lock()
	c.fetched = true
	c.fetchTime = b.FetchTime
	c.fetchedCount = len(b.Handed) + len(b.Dropped)
	c.ackFailed = b.AckFailed
	if b.Failed != nil {
		c.failure = FetchException
		c.add(Detail{Code: FetchException, Message: "fetch_updates failed: " + b.Failed.Error()})
	}
	for _, u := range b.Dropped {
		c.drop(Detail{Code: AllowlistDrop, UpdateID: u.UpdateID, ChatID: u.ChatID,
			Message: fmt.Sprintf("dropped update %d: %s", u.UpdateID, u.Reason)}, u.ChatID)
		c.acknowledge(u.UpdateID)
	}
	for _, u := range b.Stale {
		// Its detail names no chat, so that it has the id that it always had.
		c.drop(Detail{Code: StaleDrop, UpdateID: u.UpdateID,
			Message: fmt.Sprintf("dropped stale update %d below committed floor %d", u.UpdateID, b.Floor)}, u.ChatID)
	}
	for _, u := range b.Handed {
		c.waiting[u.Key] = update{u.ChatID, u.SessionID}
		t.updates[u.Key] = c
	}
	t.progress(c, nil, false)
	for _, u := range b.Handed {
		if e, ok := t.early[u.Key]; ok {
			t.catchUp(c, u.Key, e)
		}
	}
	clear(t.early)
	t.unlock(c)
}

// Empty ends a cycle that fetched nothing. It is reported only when it has
// something to say.
func (c *Cycle) Empty(fetchTime time.Duration) {
	t := c.tracker
	t.mu.Lock()
	c.fetched, c.silent = true, true
	c.fetchTime = fetchTime
	clear(t.early)
	t.unlock(c)
}

// Failed ends a cycle that could not be carried out. The code is ProcessOnceFailed or
// LoopCycleFailed.
func (c *Cycle) Failed(code string, err error) {
	t := c.tracker
	t.mu.Lock()
	c.fetched, c.failure = true, code
	clear(t.early)
	c.add(Detail{Code: code, Message: err.Error()})
	t.unlock(c)
}

// Add notes a detail of this cycle.
func (c *Cycle) Add(d Detail) {
	c.tracker.mu.Lock()
	defer c.tracker.mu.Unlock()
	c.add(d)
}

// Result is what became of an update.
type Result struct {
	Sent bool // its answer was sent
	// Left says that its turn could not start, or that its answer was not sent.
	Left bool
	// Code and Message say what went wrong; empty: nothing did.
	Code    string
	Message string
	// Operation takes the place of the code's own; empty: that one.
	Operation string
	// SendTime is how long its sends took, all together.
	SendTime time.Duration
}

// early is what was heard of an update before its batch.
type early struct {
	details   []Detail
	retries   int
	settled   bool
	sessionID string
	result    Result
}

// soon is where to note what is heard of an update before its batch is known;
// nil when no batch is on its way.
func (t *Tracker) soon(key store.Key) *early {
	if t.fetching() == nil || key == (store.Key{}) {
		return nil
	}
	e := t.early[key]
	if e == nil {
		e = &early{}
		t.early[key] = e
	}
	return e
}

// catchUp counts what was heard of an update before its batch.
func (t *Tracker) catchUp(c *Cycle, key store.Key, e *early) {
	for _, d := range e.details {
		c.add(d)
	}
	c.retries += e.retries
	if e.settled {
		t.settle(c, key, e.sessionID, e.result)
	}
}

// Settled ends the wait for an update. Updates of no open cycle are ignored:
// their cycle was reported, perhaps by an earlier process.
func (t *Tracker) Settled(key store.Key, sessionID string, r Result) {
	t.mu.Lock()
	c, ok := t.updates[key]
	if !ok {
		if e := t.soon(key); e != nil {
			e.settled, e.sessionID, e.result = true, sessionID, r
		}
		t.mu.Unlock()
		return
	}
	t.settle(c, key, sessionID, r)
	t.unlock(c)
}

// settle counts the result of an update of an open cycle.
func (t *Tracker) settle(c *Cycle, key store.Key, sessionID string, r Result) {
	u := c.waiting[key]
	delete(t.updates, key)
	delete(c.waiting, key)
	c.settled++
	c.sendTime += r.SendTime
	if r.Sent {
		c.sent++
	}
	if r.Code != "" {
		c.add(about(key, u.chatID, cmp.Or(sessionID, u.sessionID), r))
	}
	if r.Left && t.options.OnSuccess {
		c.ackSkipped++
	} else {
		c.acknowledge(key.UpdateID)
	}
	t.progress(c, nil, false)
}

// fetching is the cycle whose batch is not known yet.
func (t *Tracker) fetching() *Cycle {
	if n := len(t.open); n > 0 && !t.open[n-1].fetched {
		return t.open[n-1]
	}
	return nil
}

// about is the detail of an update's result. What the orchestrator says names
// the session alone; what the gateway itself met names the chat too.
func about(key store.Key, chatID int64, sessionID string, r Result) Detail {
	d := Detail{Code: r.Code, Message: r.Message, Operation: r.Operation, UpdateID: key.UpdateID, SessionID: sessionID}
	if kindOf(r.Code).layer == "service" {
		d.ChatID = chatID
	}
	return d
}

// Diagnostic notes a detail about an update whose cycle is still open, without
// ending the wait for it. One about a zero key belongs to the oldest open cycle
// or, when there is none, to the next.
func (t *Tracker) Diagnostic(key store.Key, d Detail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.updates[key]; ok {
		c.add(d)
		return
	}
	if key != (store.Key{}) {
		if e := t.soon(key); e != nil {
			e.details = append(e.details, d)
		}
		return
	}
	for _, c := range t.open {
		if !c.done {
			c.add(d)
			return
		}
	}
	t.homeless = append(t.homeless, d)
}

// Unreported posts details about updates whose cycles ended with an earlier process:
// no report of this one has fetched them, so none counts them.
func (t *Tracker) Unreported(details []Detail) {
	if len(details) == 0 || t.options.Heartbeat == nil {
		return
	}
	var y tally
	for _, d := range details {
		y.add(d)
	}
	report := y.report(0, 0, 0)
	t.posting.Go(func() { t.options.Heartbeat(report) })
}

// FetchRetried counts a getUpdates that was made again, or a call that comes
// before the first of them.
func (t *Tracker) FetchRetried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.fetching(); c != nil {
		c.retries++
	} else {
		t.retries++
	}
}

// Retried counts a send that is made again, for the cycle of its update.
func (t *Tracker) Retried(key store.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.updates[key]; ok {
		c.retries++
	} else if e := t.soon(key); e != nil {
		e.retries++
	}
}
