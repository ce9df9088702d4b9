package heartbeat

import (
	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
)

const (
	sessionKey = "telegram:runtime"
	source     = "channel-runtime"
	isError    = "error"
)

// Events are the failures of a cycle, one event each, in the order of its
// details: that it failed, where it did, and every other error. A detail that
// says why the cycle failed is that failure and no second one. Drops are none.
func Events(r *telemetryv1.CycleReport) (events []*telemetryv1.HeartbeatEvent) {
	for _, d := range r.GetErrorDetails() {
		if d.GetCategory() == isError {
			events = append(events, event(r, d))
		}
	}
	return events
}

func event(r *telemetryv1.CycleReport, d *diagnosticsv1.ErrorDetail) *telemetryv1.HeartbeatEvent {
	what := d.GetCode()
	if r.GetStatus() == "failed" && r.GetReason() == d.GetCode() {
		what = "cycle failed: " + what
	}
	t := r.GetTelemetry()
	return &telemetryv1.HeartbeatEvent{
		SessionKey: sessionKey,
		Text:       what + ": " + d.GetMessage(),
		Source:     source,
		Context: &telemetryv1.HeartbeatContext{
			Code:         d.GetCode(),
			Status:       r.GetStatus(),
			Reason:       r.GetReason(),
			ErrorCount:   r.GetErrorCount(),
			Message:      d.GetMessage(),
			Retryable:    d.GetRetryable(),
			Source:       d.GetSource(),
			Category:     d.GetCategory(),
			DiagnosticId: d.GetDiagnosticId(),
			Context:      d.GetContext(),
			Heartbeat:    &telemetryv1.Heartbeat{EmitState: cycle.Emitted},
			TelemetryDigest: &telemetryv1.TelemetryDigest{
				FetchTotal:   t.GetCounters().GetFetchTotal(),
				SendTotal:    t.GetCounters().GetSendTotal(),
				DropTotal:    t.GetCounters().GetDropTotal(),
				CycleTotalMs: t.GetTimersMs().GetCycleTotal(),
			},
		},
	}
}
