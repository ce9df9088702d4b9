package meters_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/meters"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// use does everything once; nil counts nothing of it, and lives.
func use(m *meters.Meter) {
	m.Refused(diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL)
	m.Started()
	m.Spawned(nil)
	m.Spawned(errors.New("x"))
	m.Made(&orchestratorv1.TurnEvent{Kind: orchestratorv1.EventKind_EVENT_KIND_UNKNOWN})
	m.Made(&orchestratorv1.TurnEvent{Kind: orchestratorv1.EventKind_EVENT_KIND_ERROR, Detail: &orchestratorv1.TurnEvent_LineError{
		LineError: &orchestratorv1.LineError{Phase: orchestratorv1.LinePhase_LINE_PHASE_PARSE}}})
	m.Made(&orchestratorv1.TurnEvent{Kind: 99})
	m.Read(10)
	closed := m.Opened()
	m.Sent(3, time.Now().Add(-time.Hour))
	m.Sent(2, time.Time{})
	closed()
	m.Committed(time.Millisecond, nil)
	m.Committed(0, errors.New("x"))
	m.Ended(&orchestratorv1.Finished{State: orchestratorv1.TurnState_TURN_STATE_SUCCEEDED}, time.Second)
	m.Ended(&orchestratorv1.Finished{State: orchestratorv1.TurnState_TURN_STATE_FAILED, ErrorDetail: &orchestratorv1.FinishedError{
		Cause: orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, FailureClass: orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT}}, 0)
}

func TestWhatIsCounted(t *testing.T) {
	use(nil)
	m := meters.New()
	use(m)
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if n := count(one); n != 0 && strings.HasPrefix(f.GetName(), meters.Prefix) {
				key := strings.TrimPrefix(f.GetName(), meters.Prefix)
				for _, l := range one.GetLabel() {
					key += " " + l.GetValue()
				}
				got[key] = n
			}
		}
	}
	want := map[string]float64{"calls_refused_total worker_full": 1, "turns_started_total": 1, "codex_starts_total started": 1, "codex_starts_total failed": 1,
		"events_total unknown": 1, "events_total error": 1, "codex_line_errors_total parse": 1, "codex_output_bytes_total": 10,
		"events_sent_total": 5, "relay_delay_seconds": 1, "journal_commit_duration_seconds": 1, "journal_commit_failures_total": 1,
		"turns_ended_total succeeded": 1, "turns_ended_total failed": 1, "turn_duration_seconds succeeded": 1,
		"turn_failures_total exit": 1, "codex_failures_total usage_limit": 1}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s = %v, want %v", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("counted: %v", got)
	}
}

func count(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
}

// BenchmarkMade is what an event costs.
func BenchmarkMade(b *testing.B) {
	m := meters.New()
	event := &orchestratorv1.TurnEvent{Kind: orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT}
	for b.Loop() {
		m.Made(event)
	}
}

// BenchmarkSent is what a batch costs.
func BenchmarkSent(b *testing.B) {
	m := meters.New()
	for b.Loop() {
		m.Sent(16, time.Now())
	}
}
