package gateway

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/internal/metrics"
)

// metricSet is what the gateway counts for those who watch it.
type metricSet struct {
	registry *prometheus.Registry
	cycles   *prometheus.CounterVec
	updates  *prometheus.CounterVec
	problems *prometheus.CounterVec
	unposted prometheus.Counter
	took     *prometheus.HistogramVec
}

func newMetricSet() *metricSet {
	m := &metricSet{
		registry: metrics.NewRegistry(),
		cycles: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "telecodex_gateway_cycles_total",
			Help: "Cycles reported."}, []string{"status", "reason"}),
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "telecodex_gateway_updates_total",
			Help: "Updates by what became of them."}, []string{"what"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "telecodex_gateway_error_details_total",
			Help: "Details of cycle reports."}, []string{"code"}),
		unposted: prometheus.NewCounter(prometheus.CounterOpts{Name: "telecodex_gateway_heartbeat_emit_failures_total",
			Help: "Heartbeat events that the receiver did not accept."}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "telecodex_gateway_cycle_seconds",
			Help: "Time of a cycle's parts.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 9)}, []string{"part"}),
	}
	m.registry.MustRegister(m.cycles, m.updates, m.problems, m.unposted, m.took)
	return m
}

// count adds a report.
func (m *metricSet) count(r *telemetryv1.CycleReport) {
	m.cycles.WithLabelValues(r.GetStatus(), r.GetReason()).Inc()
	for what, n := range map[string]int32{"fetched": r.GetFetchedCount(), "answered": r.GetSentCount(), "settled": r.GetAckedCount(),
		"left": r.GetAckSkippedCount(), "dropped": r.GetDroppedCount()} {
		m.updates.WithLabelValues(what).Add(float64(n))
	}
	for _, d := range r.GetErrorDetails() {
		m.problems.WithLabelValues(d.GetCode()).Inc()
	}
	m.unposted.Add(float64(r.GetHeartbeatEmitFailures()))
	timers := r.GetTelemetry().GetTimersMs()
	m.took.WithLabelValues("total").Observe(float64(timers.GetCycleTotal()) / 1000)
	m.took.WithLabelValues("fetch").Observe(float64(timers.GetFetch()) / 1000)
	m.took.WithLabelValues("send").Observe(float64(timers.GetSend()) / 1000)
}

// watch adds what is read when somebody asks.
func (m *metricSet) watch(g *gateway) { m.registry.MustRegister(collector{g}) }

// collector reads the store and the directory at each scrape.
type collector struct{ *gateway }

// Describe implements prometheus.Collector; what it collects describes itself.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	p := c.parts.Load()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if stats, err := p.store.Stats(ctx); err == nil {
		waiting := prometheus.NewDesc("telecodex_gateway_waiting", "What is stored and not settled.", []string{"what"}, nil)
		gauge(out, waiting, stats.Queued, "queued")
		gauge(out, waiting, stats.Running, "running")
		gauge(out, waiting, stats.Interrupted, "interrupted")
		gauge(out, waiting, stats.Outbox, "outbox")
	}
	held := prometheus.NewDesc("telecodex_gateway_held", "What is held in memory of sessions and chats.", []string{"what"}, nil)
	lanes, idle := p.dispatch.Held()
	gauge(out, held, lanes, "lanes")
	gauge(out, held, idle, "idle sessions")
	gauge(out, held, p.sender.Known(), "chats")
	if last := p.poller.LastSuccess(); !last.IsZero() {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("telecodex_gateway_last_poll_timestamp_seconds",
			"When getUpdates last succeeded.", nil, nil), prometheus.GaugeValue, float64(last.UnixMilli())/1000)
	}
	if p.workers == nil {
		return
	}
	slots := prometheus.NewDesc("telecodex_gateway_worker_slots", "Slots of each worker that can be reached.", []string{"address", "what"}, nil)
	reachable := prometheus.NewDesc("telecodex_gateway_worker_reachable", "Whether a worker can be reached.", []string{"address"}, nil)
	for _, w := range p.workers.Workers() {
		up := 0
		if w.Reachable {
			up = 1
			gauge(out, slots, w.SlotsTotal, w.Address, "total")
			gauge(out, slots, w.SlotsUsed, w.Address, "used")
		}
		gauge(out, reachable, up, w.Address)
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("telecodex_gateway_worker_restarts_total",
		"Workers seen to come back with a new process.", nil, nil), prometheus.CounterValue, float64(p.workers.Restarts()))
}

func gauge(out chan<- prometheus.Metric, desc *prometheus.Desc, n int, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
}
