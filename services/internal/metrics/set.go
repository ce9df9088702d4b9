package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Upper bounds of histograms, in seconds: of what a disk or a network takes, and of
// turns.
var (
	Short = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}
	Long  = []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
)

// Other is the value of a label for everything that its list does not have.
const Other = "other"

// Label is a label and the closed list of its values.
type Label struct {
	Name   string
	Values []string
}

// bounded is a value of the list, whatever is given.
func (l Label) bounded(value string) string {
	if slices.Contains(l.Values, value) {
		return value
	}
	return Other
}

// Set are the families of one program. All their names begin alike, and every
// combination of label values is there from the beginning, so that a rule never
// waits for the first event of its kind.
type Set struct {
	*prometheus.Registry
	prefix string
}

// NewSet returns a set that has the process and the Go runtime, too.
func NewSet(prefix string) *Set { return &Set{NewRegistry(), prefix} }

// Counters are a family of counters.
type Counters struct {
	vec    *prometheus.CounterVec
	labels []Label
}

// Counters registers a family of counters.
func (s *Set) Counters(name, help string, labels ...Label) Counters {
	c := Counters{prometheus.NewCounterVec(prometheus.CounterOpts{Name: s.prefix + name, Help: help}, namesOf(labels)), labels}
	s.MustRegister(c.vec)
	each(labels, func(values []string) { c.vec.WithLabelValues(values...) })
	return c
}

// Add adds to a counter.
func (c Counters) Add(n int, values ...string) { c.With(values...).Add(float64(n)) }

// With is the counter of some values, for who counts often.
func (c Counters) With(values ...string) prometheus.Counter {
	return c.vec.WithLabelValues(allBounded(c.labels, values)...)
}

// Timers are a family of histograms of durations.
type Timers struct {
	vec    *prometheus.HistogramVec
	labels []Label
}

// Timers registers a family of histograms with these upper bounds.
func (s *Set) Timers(name, help string, bounds []float64, labels ...Label) Timers {
	t := Timers{prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: s.prefix + name, Help: help, Buckets: bounds}, namesOf(labels)), labels}
	s.MustRegister(t.vec)
	each(labels, func(values []string) { t.vec.WithLabelValues(values...) })
	return t
}

// Observe adds a duration.
func (t Timers) Observe(d time.Duration, values ...string) { t.With(values...).Observe(d.Seconds()) }

// With is the histogram of some values, for who observes often.
func (t Timers) With(values ...string) prometheus.Observer {
	return t.vec.WithLabelValues(allBounded(t.labels, values)...)
}

// Family is a family that is read when somebody asks.
type Family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// Gauge describes a family of gauges.
func (s *Set) Gauge(name, help string, labels ...Label) Family {
	return Family{prometheus.NewDesc(s.prefix+name, help, namesOf(labels), nil), prometheus.GaugeValue}
}

// Total describes a family of counters that are kept elsewhere.
func (s *Set) Total(name, help string, labels ...Label) Family {
	return Family{prometheus.NewDesc(s.prefix+name, help, namesOf(labels), nil), prometheus.CounterValue}
}

// Is sends one value of the family.
func (f Family) Is(out chan<- prometheus.Metric, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

// Certificates has it shown until when the program's own certificates are valid, by
// what each is for: a function says it at each scrape, the zero time that there is
// none.
func (s *Set) Certificates(expires map[string]func() time.Time) {
	family := s.Gauge("certificate_expires_timestamp_seconds",
		"Until when the service's own certificate is valid, in seconds since 1970; 0: it has none.", Label{Name: "use"})
	s.MustRegister(Collect(func(out chan<- prometheus.Metric) {
		for use, until := range expires {
			at := until()
			if at.IsZero() {
				at = time.Unix(0, 0)
			}
			family.Is(out, float64(at.Unix()), use)
		}
	}))
}

// Handshakes has it shown how many TLS handshakes the program's server has refused.
func (s *Set) Handshakes(refused func() int64) {
	family := s.Total("tls_handshakes_refused_total", "TLS handshakes that failed: a client without a certificate that is accepted, or one that speaks something else.")
	s.MustRegister(Collect(func(out chan<- prometheus.Metric) { family.Is(out, float64(refused())) }))
}

// Collect is a collector that describes itself by what it collects.
type Collect func(chan<- prometheus.Metric)

// Describe implements prometheus.Collector.
func (Collect) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c Collect) Collect(out chan<- prometheus.Metric) { c(out) }

func namesOf(labels []Label) []string {
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
	}
	return names
}

func allBounded(labels []Label, values []string) []string {
	bounded := make([]string, len(values))
	for i, value := range values {
		bounded[i] = labels[i].bounded(value)
	}
	return bounded
}

// each calls f with every combination of values.
func each(labels []Label, f func(values []string), chosen ...string) {
	if len(chosen) == len(labels) {
		f(chosen)
		return
	}
	for _, value := range labels[len(chosen)].Values {
		each(labels, f, append(slices.Clone(chosen), value)...)
	}
}
