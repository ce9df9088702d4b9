package protocol

// signals are what the protocol expects of a cycle's report (its section 4).
func (k Kind) signals() []signal {
	switch k {
	case HappyPath:
		return []signal{
			{"status", is("ok")},
			{"reason", is("processed")},
			{"fetched_count", atLeast(1)},
			{"sent_count", atLeast(1)},
			{"acked_count", atLeast(1)},
			{"error_count", is(number(0))},
			{"dropped_count", is(number(0))},
			{"error_details", emptyList()},
			{"telemetry.counters.fetch_total", sameAs("fetched_count")},
			{"telemetry.counters.send_total", sameAs("sent_count")},
			{"telemetry.counters.drop_total", sameAs("dropped_count")},
		}
	case TransientFetch:
		return []signal{
			{"status", is("failed")},
			{"reason", is("adapter-fetch-exception")},
			{"error_count", atLeast(1)},
			{"errors[0]", containing("fetch_updates failed")},
			{"error_details[0].code", is("adapter-fetch-exception")},
			{"error_details[0].retryable", is(true)},
			{"error_details[0].context.operation", is("fetch_updates")},
			{"telemetry.counters.fetch_total", is(number(0))},
			{"telemetry.counters.send_total", is(number(0))},
			{"telemetry.counters.drop_total", is(number(0))},
		}
	case CodexTimeout:
		return codexSignals("codex-timeout")
	case CodexExecFail:
		return codexSignals("codex-exec-failed")
	default:
		return []signal{
			{"status", is("ok")},
			{"reason", is("processed")},
			{"dropped_count", atLeast(1)},
			{"dropped_updates[0].reason", containing("chat_id not allowlisted")},
			{"sent_count", is(number(0))},
			{"error_count", is(number(0))},
			{"error_details[code=allowlist-drop].category", is("drop")},
			{"error_details[code=allowlist-drop].retryable", is(false)},
			{"error_details[code=allowlist-drop].context.operation", is("allowlist_check")},
			{"telemetry.counters.drop_total", sameAs("dropped_count")},
		}
	}
}

func codexSignals(code string) []signal {
	detail := "error_details[code=" + code + "]."
	return []signal{
		{"status", is("ok")},
		{"reason", is("completed-with-errors")},
		{"error_count", atLeast(1)},
		{"sent_count", is(number(0))},
		{detail + "code", is(code)},
		{detail + "retryable", is(true)},
		{detail + "source", is("orchestrator.diagnostics")},
		{detail + "category", is("error")},
		{detail + "context.layer", is("orchestrator")},
		{detail + "context.operation", is("handle_message")},
		{"telemetry.counters.send_total", is(number(0))},
	}
}

// idleSignals are those of a cycle for which no message came.
func idleSignals() []signal {
	return []signal{
		{"status", is("ok")},
		{"reason", is("no-updates")},
		{"fetched_count", is(number(0))},
		{"sent_count", is(number(0))},
		{"dropped_count", is(number(0))},
		{"error_count", is(number(0))},
	}
}

// reportKeys are what the protocol's jq line takes out of every report.
func reportKeys() []string {
	return []string{"status", "reason", "fetched_count", "sent_count", "acked_count", "error_count", "dropped_count",
		"errors", "error_details", "telemetry"}
}

// detailKeys must stand in each item of error_details.
func detailKeys() []string {
	return []string{"code", "message", "retryable", "context.update_id", "context.chat_id", "context.session_id",
		"context.layer", "context.operation", "source", "category", "diagnostic_id"}
}

// telemetrySignals hold for every cycle (the protocol's section 5).
func telemetrySignals() []signal {
	return []signal{
		{"telemetry.contract", is("tg-live.runtime.telemetry")},
		{"telemetry.version", is("2.0")},
		{"telemetry.counters.heartbeat_emit_failures", present()},
		{"telemetry.timers_ms.cycle_total", atLeast(0)},
		{"telemetry.counters.retry_total", present()},
		{"telemetry.counters.queue_depth", present()},
		{"telemetry.counters.worker_restart_total", present()},
		{"telemetry.placeholders.retry_total", present()},
		{"telemetry.placeholders.queue_depth", present()},
		{"telemetry.placeholders.worker_restart_total", present()},
	}
}

// keySignals are what the evidence's table shows of a cycle.
func (k Kind) keySignals() []string {
	switch k {
	case HappyPath:
		return []string{"sent_count", "error_count", "dropped_count"}
	case TransientFetch:
		return []string{"error_details[0].code", "error_details[0].retryable"}
	case CodexTimeout:
		return []string{"error_details[code=codex-timeout].code", "telemetry.counters.send_total"}
	case CodexExecFail:
		return []string{"error_details[code=codex-exec-failed].code", "telemetry.counters.send_total"}
	default:
		return []string{"dropped_count", "error_details[code=allowlist-drop].code", "error_details[code=allowlist-drop].category"}
	}
}
