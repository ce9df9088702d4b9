package cycle_test

import (
	"testing"
	"time"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
)

func TestOnlyOnSuccessLeavesAnUpdateUnacknowledged(t *testing.T) {
	for policy, want := range map[bool][2]int32{true: {0, 1}, false: {1, 0}} {
		var report *telemetryv1.CycleReport
		tracker := cycle.NewTracker(func(r *telemetryv1.CycleReport) { report = r }, cycle.Options{OnSuccess: policy})
		tracker.Begin(time.Now()).Fetched(cycle.Batch{Handed: handed(1)})
		tracker.Settled(key(1), "", cycle.Result{Left: true, Code: cycle.CodexExecFailed, Message: "m"})
		if got := [2]int32{report.GetAckedCount(), report.GetAckSkippedCount()}; got != want || report.GetErrorCount() != 1 {
			t.Errorf("on success %v: acked and skipped %v, %d errors", policy, got, report.GetErrorCount())
		}
	}
}

func TestACallBeforeTheFirstPollIsRetriedInItsCycle(t *testing.T) {
	s := newStage()
	s.FetchRetried()
	c := s.Begin(time.Now())
	s.FetchRetried()
	c.Fetched(cycle.Batch{})
	s.Begin(time.Now()).Fetched(cycle.Batch{})
	if n := s.reports[0].GetTelemetry().GetCounters().GetRetryTotal(); n != 2 {
		t.Errorf("%d retries in the first cycle", n)
	}
	if n := s.reports[1].GetTelemetry().GetCounters().GetRetryTotal(); n != 0 {
		t.Errorf("%d retries in the second cycle", n)
	}
}
