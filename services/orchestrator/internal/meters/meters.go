// Package meters counts what a worker does, for those who watch it from outside.
// It holds numbers and words of closed lists, never what a turn is about. A nil
// *Meter counts nothing.
package meters

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/reflect/protoreflect"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/metrics"
	"telecodex.dev/services/internal/rpc"
)

// Prefix is how the names of all families begin.
const Prefix = "telecodex_orchestrator_"

// Meter is a worker's counters.
type Meter struct {
	set *metrics.Set

	started   metrics.Counters
	ended     metrics.Counters
	failures  metrics.Counters
	classes   metrics.Counters
	durations metrics.Timers
	starts    metrics.Counters

	events     []prometheus.Counter // by kind, beginning with the first that is specified
	lineErrors metrics.Counters
	output     prometheus.Counter
	sent       prometheus.Counter
	streams    prometheus.Gauge
	delay      prometheus.Observer

	calls   metrics.Counters
	commits prometheus.Observer
	refused metrics.Counters
}

// New returns a worker's counters, all at 0.
func New() *Meter {
	set := metrics.NewSet(Prefix)
	kinds := label("kind", orchestratorv1.EventKind(0).Descriptor())
	m := &Meter{
		set:        set,
		started:    set.Counters("turns_started_total", "Turns that were journaled."),
		ended:      set.Counters("turns_ended_total", "Turns that ended, those of an earlier process among them.", ended()),
		failures:   set.Counters("turn_failures_total", "Turns that did not succeed, by cause.", label("cause", orchestratorv1.FinishCause(0).Descriptor())),
		classes:    set.Counters("codex_failures_total", "Failures of Codex by what its last words look like.", label("class", orchestratorv1.FailureClass(0).Descriptor())),
		durations:  set.Timers("turn_duration_seconds", "From the start of a turn until its end is journaled.", metrics.Long, ended()),
		starts:     set.Counters("codex_starts_total", "Attempts to start Codex for a turn.", metrics.Label{Name: "outcome", Values: []string{"started", "failed"}}),
		lineErrors: set.Counters("codex_line_errors_total", "Lines of Codex that were no events.", label("phase", orchestratorv1.LinePhase(0).Descriptor())),
		output:     set.Counters("codex_output_bytes_total", "Bytes read from the standard output of Codex.").With(),
		sent:       set.Counters("events_sent_total", "Events sent to gateways, repeated ones among them.").With(),
		delay:      set.Timers("relay_delay_seconds", "From the reading of Codex's line until its event is sent: the first event of each batch.", metrics.Short).With(),
		commits:    set.Timers("journal_commit_duration_seconds", "Write transactions of the journal, from their beginning until they are on the disk.", metrics.Short).With(),
		calls:      set.Counters("calls_refused_total", "Calls that were refused, by reason.", metrics.Label{Name: "reason", Values: rpc.ReasonWords()}),
		refused:    set.Counters("journal_commit_failures_total", "Write transactions of the journal that failed."),
		streams:    prometheus.NewGauge(prometheus.GaugeOpts{Name: Prefix + "streams", Help: "Streams of events that are open."}),
	}
	set.MustRegister(m.streams)
	events := set.Counters("events_total", "Events made of the output of Codex.", kinds)
	for _, kind := range kinds.Values {
		m.events = append(m.events, events.With(kind))
	}
	return m
}

// ended are the states in which a turn ends.
func ended() metrics.Label {
	l := metrics.Label{Name: "state"}
	for _, state := range []orchestratorv1.TurnState{
		orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, orchestratorv1.TurnState_TURN_STATE_FAILED,
		orchestratorv1.TurnState_TURN_STATE_CANCELLED, orchestratorv1.TurnState_TURN_STATE_INTERRUPTED,
	} {
		l.Values = append(l.Values, Word(state))
	}
	return l
}

// label has the words of an enum, but for that of what is not specified. Numbers of
// the contract's enums leave no gaps.
func label(name string, enum protoreflect.EnumDescriptor) metrics.Label {
	l := metrics.Label{Name: name}
	for i := 1; i < enum.Values().Len(); i++ {
		l.Values = append(l.Values, shorten(enum, enum.Values().ByNumber(protoreflect.EnumNumber(i))))
	}
	return l
}

// enum is a value of an enum of the contract.
type enum interface {
	Descriptor() protoreflect.EnumDescriptor
	Number() protoreflect.EnumNumber
}

// Word is a value's name without what its enum's values begin with.
func Word(e enum) string {
	value := e.Descriptor().Values().ByNumber(e.Number())
	if value == nil {
		return metrics.Other
	}
	return shorten(e.Descriptor(), value)
}

func shorten(enum protoreflect.EnumDescriptor, value protoreflect.EnumValueDescriptor) string {
	prefix := strings.TrimSuffix(string(enum.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(value.Name()), prefix))
}

// Registry is what is scraped.
func (m *Meter) Registry() *prometheus.Registry { return m.set.Registry }

// Slots shows how busy the worker is, read when somebody asks.
func (m *Meter) Slots(read func() (total, used int, draining bool)) {
	slots := m.set.Gauge("slots", "Turns that may run at once, by whether one does.", metrics.Label{Name: "state"})
	drains := m.set.Gauge("draining", "1: the worker takes no new turns.")
	m.set.MustRegister(metrics.Collect(func(out chan<- prometheus.Metric) {
		total, used, draining := read()
		slots.Is(out, float64(used), "used")
		slots.Is(out, float64(max(0, total-used)), "free")
		drains.Is(out, flag(draining))
	}))
}

// Kept shows how many damaged journals are kept, read when somebody asks.
func (m *Meter) Kept(read func() int) {
	kept := m.set.Gauge("journal_damaged_copies", "Damaged journals that were set aside, and that nobody has removed yet.")
	m.set.MustRegister(metrics.Collect(func(out chan<- prometheus.Metric) { kept.Is(out, float64(read())) }))
}

// TLS shows until when the server's certificate is valid, and how many handshakes it
// has refused, read when somebody asks.
func (m *Meter) TLS(expires func() time.Time, refused func() int64) {
	m.set.Handshakes(refused)
	m.set.Certificates(map[string]func() time.Time{"server": expires})
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Started counts a turn that the journal has taken.
func (m *Meter) Started() {
	if m != nil {
		m.started.Add(1)
	}
}

// Ended counts a turn whose end is journaled. took is 0 for one that an earlier
// process began.
func (m *Meter) Ended(f *orchestratorv1.Finished, took time.Duration) {
	if m == nil {
		return
	}
	state := Word(f.GetState())
	m.ended.Add(1, state)
	if took > 0 {
		m.durations.Observe(took, state)
	}
	if why := f.GetErrorDetail(); why != nil {
		m.failures.Add(1, Word(why.GetCause()))
		if why.GetFailureClass() != 0 {
			m.classes.Add(1, Word(why.GetFailureClass()))
		}
	}
}

// Spawned counts an attempt to start Codex.
func (m *Meter) Spawned(err error) {
	if m == nil {
		return
	}
	outcome := "started"
	if err != nil {
		outcome = "failed"
	}
	m.starts.Add(1, outcome)
}

// Made counts an event.
func (m *Meter) Made(event *orchestratorv1.TurnEvent) {
	if m == nil {
		return
	}
	if kind := int(event.GetKind()) - 1; kind >= 0 && kind < len(m.events) {
		m.events[kind].Inc()
	}
	if failure := event.GetLineError(); failure != nil {
		m.lineErrors.Add(1, Word(failure.GetPhase()))
	}
}

// Read counts bytes of Codex's output.
func (m *Meter) Read(bytes uint64) {
	if m != nil && bytes > 0 {
		m.output.Add(float64(bytes))
	}
}

// Opened counts a stream of events that begins; the result is to be called at its
// end.
func (m *Meter) Opened() (closed func()) {
	if m == nil {
		return func() {}
	}
	m.streams.Inc()
	return m.streams.Dec
}

// Sent counts events that went out, the first of which was read at a time; zero:
// before the stream was opened.
func (m *Meter) Sent(events int, read time.Time) {
	if m == nil {
		return
	}
	m.sent.Add(float64(events))
	if !read.IsZero() {
		m.delay.Observe(max(0, time.Since(read)).Seconds())
	}
}

// Refused counts a call that was refused.
func (m *Meter) Refused(reason diagnosticsv1.ErrorReason) {
	if m != nil {
		m.calls.Add(1, rpc.ReasonWord(reason))
	}
}

// Committed times a write transaction of the journal.
func (m *Meter) Committed(took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.refused.Add(1)
	default:
		m.commits.Observe(took.Seconds())
	}
}
