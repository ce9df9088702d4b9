package dispatch

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/rpc"
)

const (
	// typingAfter is when the chat action begins: a turn that ends sooner needs
	// none, and a person sees within a second that something happens.
	typingAfter = 300 * time.Millisecond
	// typingEvery renews the chat action, which lasts five seconds.
	typingEvery = 4 * time.Second
)

// runner carries out the lane of one session. Everything but woken and chat belongs
// to its goroutine.
type runner struct {
	m       *Manager
	session string
	log     *zap.Logger
	woken   bool          // since the head was last read; guarded by Manager.mu
	more    chan struct{} // more was put into the lane
	chat    int64         // of the session; 0: not known yet; guarded by Manager.mu

	state lane.State
	head  store.Turn
	ahead *store.Lane // what the lane goes on with, where that is known
	held  string      // worker that holds the session's thread
	had   string      // thread of the session when a waiting head was loaded
	since time.Time   // the head is held back; zero: it is not

	place    *workers.Place
	call     *call
	accepted *orchestratorv1.Accepted
	joined   time.Time // when it arrived
	last     uint64    // sequence of the last event taken
	seen     uint64    // the highest one ever taken for the head
	reply    reply
	finished *orchestratorv1.Finished
	refused  error  // of the call that ended last
	lost     bool   // the head's worker does not come back
	thread   string // named by Codex, not stored yet

	patience  patience    // with the head
	postponed postponed   // the head was not started
	elapse    *time.Timer // runs while the lane pauses
	awaits    func() bool // ends a pause early, when the directory changes; nil: nothing does
	typed     time.Time
	cancels   chan struct{} // a person asked to stop the head
	stopTurn  context.CancelFunc
	stoppings sync.WaitGroup
}

func newRunner(m *Manager, session string) *runner {
	return &runner{m: m, session: session, log: m.Log.With(zap.String("session", session)), cancels: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

// wake notes that more was put into the lane; the caller holds Manager.mu.
func (r *runner) wake() {
	r.woken = true
	select {
	case r.more <- struct{}{}:
	default: // it was noted
	}
}

// run drives the lane until it is empty, or left. It fails only when the store
// is lost to another gateway.
func (r *runner) run(ctx context.Context) error {
	defer r.release()
	pending := []lane.Input{{Kind: lane.Wake}}
	for {
		for len(pending) > 0 {
			in := pending[0]
			pending = pending[1:]
			before := r.state
			next, effects := lane.Step(before, in)
			r.state = next
			r.log.Debug("lane", zap.Stringer("phase", before.Phase), zap.Stringer("input", in.Kind), zap.Stringer("then", next.Phase))
			for _, e := range effects {
				answer, err := r.do(ctx, e)
				if err != nil {
					r.m.drop(r)
					return err
				}
				pending = append(pending, answer...)
			}
		}
		switch r.state.Phase {
		case lane.Left:
			r.m.drop(r)
			return nil
		case lane.Idle:
			if r.m.leave(r) {
				return nil
			}
			pending = append(pending, lane.Input{Kind: lane.Wake})
		default:
			pending = append(pending, r.wait(ctx))
		}
	}
}

// release lets go of everything that belongs to the head.
func (r *runner) release() {
	r.closeCall()
	r.place.Release()
	r.place = nil
	if r.stopTurn != nil {
		r.stopTurn()
		r.stopTurn = nil
	}
	r.stoppings.Wait()
	r.resume()
}

// resume ends a pause.
func (r *runner) resume() {
	if r.elapse != nil {
		r.elapse.Stop()
		r.elapse, r.awaits = nil, nil
	}
}

func (r *runner) closeCall() {
	if r.call != nil {
		r.call.close()
		r.call = nil
	}
}

// wait waits for the next thing that concerns the lane.
func (r *runner) wait(ctx context.Context) lane.Input {
	overdue := until(r.patience.since, r.m.Patience, r.impatient())
	typing := until(r.typed, typingEvery, r.state.Phase == lane.Following)
	for {
		changed := r.m.Workers.Changed()
		if r.awaits != nil && r.awaits() {
			r.resume()
			return lane.Input{Kind: lane.Elapsed}
		}
		select {
		case <-ctx.Done():
			return lane.Input{Kind: lane.Stop}
		case i := <-r.items():
			if in, ok := r.take(i); ok {
				return in
			}
		case <-r.elapsed():
			r.resume()
			if r.state.Phase == lane.Holding {
				return lane.Input{Kind: lane.Lapse}
			}
			return lane.Input{Kind: lane.Elapsed}
		case <-r.more:
			if r.state.Phase == lane.Holding {
				return lane.Input{Kind: lane.Wake}
			}
			if r.resting() { // who writes again wants it tried now
				r.resume()
				return lane.Input{Kind: lane.Elapsed}
			}
			// What was reported was reported of what had been there.
			if r.patience.again() {
				overdue = until(r.patience.since, r.m.Patience, r.impatient())
			}
		case <-r.cancels:
			if r.m.cancelWanted(r.head.Key) {
				return lane.Input{Kind: lane.Cancel}
			}
		case <-overdue:
			r.patience.reported = true
			if r.m.Once {
				return lane.Input{Kind: lane.GiveUp}
			}
			return lane.Input{Kind: lane.Overdue}
		case <-typing:
			r.showTyping()
			typing = until(r.typed, typingEvery, true)
		case <-r.onChange(changed):
		}
	}
}

// impatient says whether the lane is to be told that its head gets nowhere. While
// events may arrive that is not known; while nothing could be loaded there is
// nothing to report on, and only one that is about to end gives up.
func (r *runner) impatient() bool {
	switch {
	case r.patience.reported, r.state.Phase == lane.Following, r.state.Phase == lane.Holding:
		return false
	case r.state.Phase == lane.Loading:
		return r.m.Once
	}
	return true
}

func (r *runner) items() <-chan item {
	if r.call == nil {
		return nil
	}
	return r.call.items
}

func (r *runner) elapsed() <-chan time.Time {
	if r.elapse == nil {
		return nil
	}
	return r.elapse.C
}

func (r *runner) onChange(changed <-chan struct{}) <-chan struct{} {
	if r.awaits == nil {
		return nil
	}
	return changed
}

// until fires when d has passed since a time; never while the time is zero or on
// is false.
func until(since time.Time, d time.Duration, on bool) <-chan time.Time {
	if since.IsZero() || !on {
		return nil
	}
	return time.After(time.Until(since.Add(d)))
}

// take takes one message of the open call. Most events concern the reply alone.
func (r *runner) take(i item) (lane.Input, bool) {
	switch {
	case i.accepted != nil:
		crashpoint.Here(crashpoint.Joined)
		r.accepted, r.joined = i.accepted, time.Now()
		r.typed = r.joined.Add(typingAfter - typingEvery)
		return lane.Input{Kind: lane.Joined}, true
	case i.event != nil:
		return r.takeEvent(i.event)
	}
	r.closeCall()
	r.refused = i.err
	r.m.Meter.CallFailed(rpc.ReasonOf(i.err))
	action := actionOf(i.err)
	if action == lane.Unknown && r.state.Phase == lane.Calling && !r.state.Doubt && neverRuns(i.err) {
		action = lane.Fail
	}
	if action == lane.Alarm && r.head.Attempt >= maxAttempts {
		action = lane.Fail
	}
	r.log.Info("call ended", zap.Stringer("phase", r.state.Phase), zap.String("turn_id", r.head.ID),
		zap.String("reason", rpc.ReasonName(rpc.ReasonOf(i.err))), zap.Stringer("action", action), zap.Error(i.err))
	if r.accepted != nil && time.Since(r.joined) >= r.m.Patience {
		r.patience.progressed() // the turn was silent, and watched for long
	}
	switch rpc.ReasonOf(i.err) {
	case diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL, diagnosticsv1.ErrorReason_ERROR_REASON_SESSION_BUSY:
		r.patience.answered()
	default:
		r.patience.failed()
	}
	return lane.Input{Kind: lane.Failed, Action: action}, true
}

// maxAttempts bounds for how many ids a worker can say that another turn has them.
const maxAttempts = 20

func (r *runner) takeEvent(e *orchestratorv1.TurnEvent) (lane.Input, bool) {
	if r.accepted == nil || e.GetSequence() != r.last+1 {
		r.log.Error("event out of sequence", zap.String("turn_id", r.head.ID), zap.Uint64("last", r.last), zap.Uint64("got", e.GetSequence()))
		r.patience.failed()
		return lane.Input{Kind: lane.Gap}, true
	}
	r.m.Meter.Heard()
	if r.last = e.GetSequence(); r.last > r.seen {
		r.seen = r.last
		r.patience.progressed()
	}
	r.reply.add(e)
	if started := e.GetThreadStarted(); started != nil && r.head.ThreadID == "" {
		// Where a thread was asked for, the worker makes sure it is this one.
		r.thread = started.GetThreadId()
		return lane.Input{Kind: lane.Named}, true
	}
	if r.finished = e.GetFinished(); r.finished != nil {
		crashpoint.Here(crashpoint.Finishing)
		return lane.Input{Kind: lane.Finished, Outcome: r.outcome()}, true
	}
	return lane.Input{}, false
}

// outcome tells the ends apart that a lane treats differently.
func (r *runner) outcome() lane.Outcome {
	cause := r.finished.GetErrorDetail().GetCause()
	switch {
	case r.finished.GetState() == orchestratorv1.TurnState_TURN_STATE_INTERRUPTED:
		return lane.Interrupted
	case cause == orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE && r.head.ThreadID != "":
		return lane.NotResumable
	case cause == orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN && r.m.OnSuccess:
		return lane.NotStarted
	}
	return lane.Ended
}

// sleep starts a pause. It ends early when the worker that could not be reached
// can be, or when room is found for a turn that waits for some.
func (r *runner) sleep() {
	if r.resting() {
		r.elapse = time.NewTimer(r.postponed.pause())
		return
	}
	d := r.patience.pause()
	if asked := rpc.RetryAfter(r.refused); asked > 0 {
		d = min(asked, lastPause)
	}
	r.elapse = time.NewTimer(d)
	switch worker := r.head.WorkerID; {
	case r.state.Phase == lane.Placing && r.place == nil && r.refused == nil:
		r.awaits = func() bool {
			place, ok := r.m.Workers.Take(r.held)
			r.place = place
			return ok
		}
	case worker != "":
		if _, ok := r.m.Workers.Lookup(worker); !ok {
			r.awaits = func() bool { _, ok := r.m.Workers.Lookup(worker); return ok }
		}
	}
}

func (r *runner) showTyping() {
	r.typed = time.Now()
	r.m.Typing(r.head.ChatID, r.head.TopicID, !r.head.Private)
}

// storeFailed handles a failed read or write of the store: an error when the
// store is lost to another gateway.
func (r *runner) storeFailed(ctx context.Context, err error) ([]lane.Input, error) {
	if store.Fenced(err) {
		return nil, err
	}
	if ctx.Err() != nil {
		return []lane.Input{{Kind: lane.Stop}}, nil
	}
	r.refused = nil
	r.log.Error("store failed", zap.Stringer("phase", r.state.Phase), zap.String("turn_id", r.head.ID), zap.Error(err))
	r.patience.failed()
	return []lane.Input{{Kind: lane.CommitFailed}}, nil
}
