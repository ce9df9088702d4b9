// Package meters counts what the gateway does, for those who watch it from outside.
// It holds numbers and words of closed lists, never who wrote or what. A nil *Meter
// counts nothing.
package meters

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/metrics"
	"telecodex.dev/services/internal/rpc"
)

// Prefix is how the names of all families begin.
const Prefix = "telecodex_gateway_"

// calls are the upper bounds, in seconds, of what calls to Telegram take.
var calls = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// What became of a poll.
const (
	PollOK       = "ok"
	PollFailed   = "failed"
	PollConflict = "conflict" // another poller, or a webhook
	PollCut      = "cut"      // given up, for a sooner one or at the end
)

// What became of a call that sends a message.
const (
	Sent        = "sent"
	Refused     = "refused"      // for good
	RateLimited = "rate_limited" // Telegram said when to try again
	Retried     = "retried"      // another failure; it is tried again
)

// Why there is another attempt at an update.
const (
	NotStarted   = "not_started"   // Codex could not be started
	NotResumable = "not_resumable" // its thread could not be resumed
	Renumbered   = "renumbered"    // the worker knew its id as another turn's
)

// Meter is a gateway's counters.
type Meter struct {
	set *metrics.Set

	polls    metrics.Counters
	received metrics.Counters

	turns    metrics.Timers
	waits    metrics.Timers
	attempts metrics.Counters
	streams  metrics.Counters
	moves    metrics.Counters
	failures metrics.Counters
	events   prometheus.Counter
	refused  metrics.Counters

	sends   metrics.Counters
	sending metrics.Timers
	inDoubt metrics.Counters
	again   metrics.Counters

	commits prometheus.Observer
	broken  metrics.Counters

	cycles   metrics.Counters
	parts    metrics.Timers
	details  metrics.Counters
	unposted metrics.Counters
}

// New returns a gateway's counters, all at 0.
func New() *Meter {
	set := metrics.NewSet(Prefix)
	return &Meter{
		set:      set,
		polls:    set.Counters("polls_total", "Calls of getUpdates.", of("outcome", PollOK, PollFailed, PollConflict, PollCut)),
		received: set.Counters("updates_received_total", "Updates that Telegram has sent to this process.", of("outcome", "queued", "dropped", "skipped", "stale", "duplicate", "malformed")),
		turns: set.Timers("turn_duration_seconds", "From the receipt of a message until its turn's outcome is stored.", metrics.Long,
			of("outcome", "succeeded", "failed", "cancelled", "interrupted")),
		waits:    set.Timers("turn_wait_seconds", "From the receipt of a message until its first attempt has a worker.", append([]float64{0.01, 0.05, 0.25}, metrics.Long...)),
		attempts: set.Counters("turn_retries_total", "Further attempts that the gateway itself has queued.", of("reason", NotStarted, NotResumable, Renumbered)),
		moves:    set.Counters("sessions_moved_total", "Sessions that were taken from their worker.", of("reason", store.Moved, store.Lost, store.Gone)),
		streams:  set.Counters("worker_streams_total", "Streams of events that were opened: to run a turn, or to watch it again.", of("call", "run", "watch")),
		failures: set.Counters("worker_call_failures_total", "Streams of events that ended before their turn, by the worker's reason.", of("reason", append(rpc.ReasonWords(), rpc.ReasonWord(0))...)),
		events:   set.Counters("events_received_total", "Events taken from workers, repeated ones among them.").With(),
		refused:  set.Counters("calls_refused_total", "Calls of the operator's API that were refused, by reason.", of("reason", rpc.ReasonWords()...)),
		sends: set.Counters("sends_total", "Calls that send a message.", of("kind", store.Answer, store.Notice, store.Question, store.Reply),
			of("outcome", Sent, Retried, RateLimited, Refused)),
		sending:  set.Timers("send_duration_seconds", "Calls that send a message.", calls),
		inDoubt:  set.Counters("sends_in_doubt_total", "Messages that were sent again though they may have arrived."),
		again:    set.Counters("telegram_retries_total", "Reads of the Bot API that were tried again.", of("method", "getMe", "getUpdates")),
		commits:  set.Timers("store_commit_duration_seconds", "Write transactions of the store, from their beginning until they are on the disk.", metrics.Short).With(),
		broken:   set.Counters("store_commit_failures_total", "Write transactions that the database failed."),
		cycles:   set.Counters("cycles_total", "Cycle reports, by their reason.", of("reason", cycle.Reasons()...)),
		parts:    set.Timers("cycle_duration_seconds", "What a cycle's time was spent on.", append(calls, 60, 300, 1800), of("part", "total", "fetch", "send")),
		details:  set.Counters("error_details_total", "Details of cycle reports.", of("code", append(cycle.Codes(), metrics.Other)...)),
		unposted: set.Counters("heartbeat_failures_total", "Failure events that the heartbeat's receiver did not accept."),
	}
}

func of(name string, values ...string) metrics.Label {
	return metrics.Label{Name: name, Values: values}
}

// Registry is what is scraped.
func (m *Meter) Registry() *prometheus.Registry { return m.set.Registry }

// Polled counts a getUpdates.
func (m *Meter) Polled(outcome string) {
	if m != nil {
		m.polls.Add(1, outcome)
	}
}

// Took counts what a poll has brought.
func (m *Meter) Took(in store.Ingested) {
	if m == nil {
		return
	}
	for _, u := range in.New {
		m.received.Add(1, strings.ToLower(string(u.State)))
	}
	m.received.Add(len(in.Stale), "stale")
	m.received.Add(len(in.Duplicates), "duplicate")
}

// Malformed counts elements of a getUpdates result without a usable update_id.
func (m *Meter) Malformed(n int) {
	if m != nil {
		m.received.Add(n, "malformed")
	}
}

// Settled counts a turn whose outcome is stored.
func (m *Meter) Settled(outcome string, received time.Time) {
	if m != nil {
		m.turns.Observe(max(0, time.Since(received)), outcome)
	}
}

// Assigned counts the wait of a turn's first attempt.
func (m *Meter) Assigned(received time.Time) {
	if m != nil {
		m.waits.Observe(max(0, time.Since(received)))
	}
}

// Again counts another attempt at an update.
func (m *Meter) Again(why string) {
	if m != nil {
		m.attempts.Add(1, why)
	}
}

// Moved counts a session that was taken from its worker, and why.
func (m *Meter) Moved(why string) {
	if m != nil {
		m.moves.Add(1, why)
	}
}

// Called counts a stream of events that is opened: run or watch.
func (m *Meter) Called(call string) {
	if m != nil {
		m.streams.Add(1, call)
	}
}

// CallFailed counts a stream that ended before its turn.
func (m *Meter) CallFailed(reason diagnosticsv1.ErrorReason) {
	if m != nil {
		m.failures.Add(1, rpc.ReasonWord(reason))
	}
}

// Refused counts a call of the operator's API that was refused.
func (m *Meter) Refused(reason diagnosticsv1.ErrorReason) {
	if m != nil {
		m.refused.Add(1, rpc.ReasonWord(reason))
	}
}

// Heard counts an event.
func (m *Meter) Heard() {
	if m != nil {
		m.events.Inc()
	}
}

// Sending counts a call of Telegram that sends a message of a kind.
func (m *Meter) Sending(kind, outcome string, took time.Duration) {
	if m != nil {
		m.sends.Add(1, kind, outcome)
		m.sending.Observe(took)
	}
}

// Doubted counts a message that may arrive twice.
func (m *Meter) Doubted() {
	if m != nil {
		m.inDoubt.Add(1)
	}
}

// Retried counts a read of the Bot API that is tried again.
func (m *Meter) Retried(method string) {
	if m != nil {
		m.again.Add(1, method)
	}
}

// Committed times a write transaction of the store.
func (m *Meter) Committed(took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.broken.Add(1)
	default:
		m.commits.Observe(took.Seconds())
	}
}

// Reported counts a cycle.
func (m *Meter) Reported(r *telemetryv1.CycleReport) {
	if m == nil {
		return
	}
	m.cycles.Add(1, r.GetReason())
	for _, d := range r.GetErrorDetails() {
		m.details.Add(1, d.GetCode())
	}
	m.unposted.Add(int(r.GetHeartbeatEmitFailures()))
	timers := r.GetTelemetry().GetTimersMs()
	for part, ms := range map[string]int32{"total": timers.GetCycleTotal(), "fetch": timers.GetFetch(), "send": timers.GetSend()} {
		m.parts.Observe(time.Duration(ms)*time.Millisecond, part)
	}
}
