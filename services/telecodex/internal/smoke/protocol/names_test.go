package protocol

import (
	"slices"
	"strings"
	"testing"
)

// What the protocol expects, copied from its text and not from the tables that
// the judge uses: no check may vanish unnoticed.
const (
	ofEveryProcess = "process; exit status; stdout"
	ofEveryReport  = "status (key); reason (key); fetched_count (key); sent_count (key); acked_count (key); error_count (key); " +
		"dropped_count (key); errors (key); error_details (key); telemetry (key)"
	ofEveryDetail = "error_details[].code; error_details[].message; error_details[].retryable; error_details[].context.update_id; " +
		"error_details[].context.chat_id; error_details[].context.session_id; error_details[].context.layer; " +
		"error_details[].context.operation; error_details[].source; error_details[].category; error_details[].diagnostic_id"
	ofTelemetry = "telemetry.contract; telemetry.version; telemetry.counters.heartbeat_emit_failures; telemetry.timers_ms.cycle_total; " +
		"telemetry.counters.retry_total; telemetry.counters.queue_depth; telemetry.counters.worker_restart_total; " +
		"telemetry.placeholders.retry_total; telemetry.placeholders.queue_depth; telemetry.placeholders.worker_restart_total"
)

func TestEveryCheckIsThere(t *testing.T) {
	sent, threads := "simulator: messages sent", "simulator: Codex threads"
	for id, want := range map[string][]string{
		"S1-happy-path": {ofEveryProcess, ofEveryReport,
			"status; reason; fetched_count; sent_count; acked_count; error_count; dropped_count; error_details; " +
				"telemetry.counters.fetch_total; telemetry.counters.send_total; telemetry.counters.drop_total",
			ofTelemetry, sent, threads},
		"S2-telegram-transient-fetch": {ofEveryProcess, ofEveryReport,
			"status; reason; error_count; errors[0]; error_details[0].code; error_details[0].retryable; error_details[0].context.operation; " +
				"telemetry.counters.fetch_total; telemetry.counters.send_total; telemetry.counters.drop_total",
			ofEveryDetail, ofTelemetry, sent, threads},
		"S3-codex-timeout": {ofEveryProcess, ofEveryReport,
			"status; reason; error_count; sent_count; error_details[code=codex-timeout].code; error_details[code=codex-timeout].retryable; " +
				"error_details[code=codex-timeout].source; error_details[code=codex-timeout].category; " +
				"error_details[code=codex-timeout].context.layer; error_details[code=codex-timeout].context.operation; telemetry.counters.send_total",
			ofEveryDetail, ofTelemetry, sent},
		"S3-codex-exec-fail": {ofEveryProcess, ofEveryReport,
			"status; reason; error_count; sent_count; error_details[code=codex-exec-failed].code; error_details[code=codex-exec-failed].retryable; " +
				"error_details[code=codex-exec-failed].source; error_details[code=codex-exec-failed].category; " +
				"error_details[code=codex-exec-failed].context.layer; error_details[code=codex-exec-failed].context.operation; telemetry.counters.send_total",
			ofEveryDetail, ofTelemetry, sent, threads},
		"S4-allowlist-drop": {ofEveryProcess, ofEveryReport,
			"status; reason; dropped_count; dropped_updates[0].reason; sent_count; error_count; error_details[code=allowlist-drop].category; " +
				"error_details[code=allowlist-drop].retryable; error_details[code=allowlist-drop].context.operation; telemetry.counters.drop_total",
			ofEveryDetail, ofTelemetry, sent, threads},
	} {
		i := slices.IndexFunc(Cycles(), func(c Cycle) bool { return c.ID == id })
		if i < 0 {
			t.Errorf("%s is not run", id)
			continue
		}
		var got []string
		for _, check := range Cycles()[i].Judge(asExpected(t, Cycles()[i])) {
			got = append(got, check.Name)
		}
		if want := strings.Split(strings.Join(want, "; "), "; "); !slices.Equal(got, want) {
			t.Errorf("%s is judged by\n%q, want\n%q", id, got, want)
		}
	}
	if len(Cycles()) != 5 {
		t.Errorf("%d cycles", len(Cycles()))
	}
}
