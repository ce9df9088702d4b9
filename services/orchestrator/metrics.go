package orchestrator

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/metrics"
)

// registry shows the worker's counters. They are read when somebody looks.
func (w *worker) registry() *prometheus.Registry {
	registry := metrics.NewRegistry()
	stats := w.manager.Stats()
	counter := func(name, help string, labels prometheus.Labels, read func() uint64) {
		registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(read()) }))
	}
	gauge := func(name, help string, read func() int) {
		registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
	}
	counter("telecodex_events_total", "Events made of the output of Codex.", nil, stats.Events)
	counter("telecodex_unknown_events_total", "Events of a type this worker does not know.", nil, stats.Unknown)
	counter("telecodex_line_errors_total", "Lines of Codex that were no events.", nil, stats.LineErrors)
	for _, state := range []orchestratorv1.TurnState{
		orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, orchestratorv1.TurnState_TURN_STATE_FAILED,
		orchestratorv1.TurnState_TURN_STATE_CANCELLED, orchestratorv1.TurnState_TURN_STATE_INTERRUPTED,
	} {
		name := strings.ToLower(strings.TrimPrefix(state.String(), "TURN_STATE_"))
		counter("telecodex_turns_total", "Turns that ended, by state.", prometheus.Labels{"state": name},
			func() uint64 { return stats.Ended(state) })
	}
	gauge("telecodex_turn_slots", "Turns that may run at once.", func() int { return w.manager.Status().Total })
	gauge("telecodex_turns_running", "Turns that run.", func() int { return w.manager.Status().Used })
	return registry
}
