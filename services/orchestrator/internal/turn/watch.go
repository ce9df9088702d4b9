package turn

import (
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
)

// watch stays with one process of Codex: it takes in its events and enforces the
// limits, until the output is at its end and the process is gone.
type watch struct {
	turn   *Turn
	run    codex.Run
	chunks chan chunk
	gone   <-chan struct{}

	overall *time.Timer // the turn's limit
	idle    *time.Timer // no event while no item is in progress
	leave   *time.Timer // Codex said that it is done, or closed its output
	kill    *time.Timer // after SIGINT
	silence *time.Timer // before Codex's first event

	limit   time.Time // when overall fires
	stopped bool      // Codex was told to stop
	deaf    bool      // what else Codex says is read and dropped
}

func newWatch(t *Turn, run codex.Run) *watch {
	limit := t.spec.Timeout
	if limit <= 0 {
		limit = t.manager.timeout
	}
	end := t.started.Add(limit)
	w := &watch{
		turn: t, run: run, chunks: make(chan chunk), gone: run.Done(), limit: end,
		overall: time.NewTimer(time.Until(end)), idle: time.NewTimer(t.manager.idle),
		leave: time.NewTimer(time.Hour), kill: time.NewTimer(time.Hour), silence: time.NewTimer(sayGrace),
	}
	w.leave.Stop()
	w.kill.Stop()
	return w
}

// follow returns when nothing more can come.
func (w *watch) follow() {
	if !time.Now().Before(w.limit) { // Codex took longer to start than the turn may
		w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT)
	}
	go w.turn.read(w.run, w.chunks)
	failure := w.turn.failure
	for w.chunks != nil || w.gone != nil {
		select {
		case c, open := <-w.chunks:
			w.receive(c, open)
		case <-w.gone:
			w.gone = nil
			w.idle.Stop()
		case cause := <-w.turn.stopping:
			w.stop(cause)
		case <-failure:
			failure = nil
			w.deaf = true
			w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_IO)
		case <-w.overall.C:
			w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT)
		case <-w.idle.C:
			w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT)
		case <-w.leave.C:
			w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_UNSPECIFIED)
		case <-w.kill.C:
			w.run.Kill()
		case <-w.silence.C:
			w.turn.say()
		}
	}
	for _, timer := range []*time.Timer{w.overall, w.idle, w.leave, w.kill, w.silence} {
		timer.Stop()
	}
}

// receive takes in what was read.
func (w *watch) receive(c chunk, open bool) {
	if !open {
		w.chunks = nil
		return
	}
	o := w.turn.outcome
	if len(c.events) > 0 && !w.deaf {
		over := o.terminal()
		w.turn.take(c.events)
		if o.terminal() && !over {
			w.leave.Reset(leaveGrace)
		}
		if o.mismatch {
			w.stop(orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_MISMATCH)
		}
	}
	switch {
	case o.terminal() || c.err != nil || w.stopped || o.busy():
		w.idle.Stop()
	default:
		w.idle.Reset(w.turn.manager.idle)
	}
	if c.err != nil {
		w.turn.ending.broken = broken(c.err)
		if w.gone != nil && !o.terminal() {
			w.leave.Reset(leaveGrace)
		}
	}
}

// stop begins the sequence SIGINT, two seconds, SIGKILL. The first cause stands,
// unless Codex had already said that the turn is over. Codex that has said nothing
// yet may not handle SIGINT yet, and without a handler the first process of a
// namespace does not get it: it is killed at once, and says nothing more.
func (w *watch) stop(cause orchestratorv1.FinishCause) {
	if w.stopped || w.gone == nil {
		return
	}
	w.stopped = true
	w.idle.Stop()
	w.kill.Reset(killGrace)
	end := &w.turn.ending
	switch {
	case w.turn.outcome.terminal():
	case cause == orchestratorv1.FinishCause_FINISH_CAUSE_UNSPECIFIED:
		end.closed = true // it closed its output and did not leave
	default:
		end.cause = cause
	}
	if !w.turn.outcome.events {
		w.deaf = true
		w.run.Kill()
		return
	}
	w.run.Interrupt()
}
