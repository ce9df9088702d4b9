package cycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
)

// ErrInterrupted is why Wait returned before every cycle was complete.
var ErrInterrupted = errors.New("cycles are still open")

// Wait returns once no cycle is open and every report was handed out, or with
// ErrInterrupted when ctx ends first.
func (t *Tracker) Wait(ctx context.Context) error {
	t.mu.Lock()
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ErrInterrupted
	}
}

// Flush returns once the report of every complete cycle was handed out, and what no
// report has was posted. It waits no longer than Options.Heartbeat takes. No cycle may be completed meanwhile.
func (t *Tracker) Flush() { t.posting.Wait() }

// Leave ends the wait for all updates that nothing more is done for in this
// process; they stay stored. Nobody has said why, so that the report says at least
// that it is so.
func (t *Tracker) Leave() {
	t.mu.Lock()
	keys := slices.Collect(maps.Keys(t.updates))
	t.mu.Unlock()
	for _, key := range keys {
		t.Settled(key, "", Result{Left: true, Code: ProcessingException, Operation: HandleMessage,
			Message: fmt.Sprintf("update %d: Unhandled: it was not worked off in this cycle and stays stored", key.UpdateID)})
	}
}

// progress tells of a step. The tracker is locked.
func (t *Tracker) progress(c *Cycle, report *telemetryv1.CycleReport, last bool) {
	t.options.Progress(Progress{Cycle: c.number, Fetched: c.fetchedCount, Settled: c.settled, Report: report, Last: last})
}

// unlock releases the tracker and, when c is complete, reports it.
func (t *Tracker) unlock(c *Cycle) {
	complete := c.fetched && len(c.waiting) == 0 && !c.done
	c.done = c.done || complete
	t.mu.Unlock()
	if !complete {
		return
	}
	// Nothing is added to a cycle that is done.
	took := time.Since(c.started)
	if c.silent && len(c.details) == 0 {
		t.handOut(c, nil)
		return
	}
	queueDepth, restarts := t.options.Gauges()
	report := c.report(took, queueDepth, restarts)
	if report.GetErrorCount() == 0 || t.options.Heartbeat == nil {
		t.handOut(c, report)
		return
	}
	// Whoever has completed the cycle has other work than to wait for a receiver.
	t.posting.Go(func() {
		setHeartbeat(report, t.options.Heartbeat(report))
		t.handOut(c, report)
	})
}

// handOut gives a report to those who wait for it, one at a time, and forgets its
// cycle. nil: the cycle is not reported.
func (t *Tracker) handOut(c *Cycle, report *telemetryv1.CycleReport) {
	t.emitting.Lock()
	defer t.emitting.Unlock()
	if report != nil {
		t.emit(report)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress(c, report, true)
	t.close(c)
}

// close forgets a cycle. The tracker is locked.
func (t *Tracker) close(c *Cycle) {
	t.open = slices.DeleteFunc(t.open, func(other *Cycle) bool { return other == c })
	if len(t.open) == 0 {
		close(t.idle)
	}
}
