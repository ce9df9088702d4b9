package metrics_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"telecodex.dev/services/internal/metrics"
)

func gather(t *testing.T, set *metrics.Set, name string) map[string]float64 {
	t.Helper()
	families, err := set.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name {
				continue
			}
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + ";"
			}
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestEveryCombinationIsThereFromTheBeginning(t *testing.T) {
	set := metrics.NewSet("t_")
	a, b := metrics.Label{Name: "a", Values: []string{"x", "y"}}, metrics.Label{Name: "b", Values: []string{"u", "v", metrics.Other}}
	counters := set.Counters("c_total", "C.", a, b)
	timers := set.Timers("d_seconds", "D.", []float64{1}, a)
	if got := gather(t, set, "t_c_total"); len(got) != 6 {
		t.Errorf("counters: %v", got)
	}
	if got := gather(t, set, "t_d_seconds"); len(got) != 2 {
		t.Errorf("timers: %v", got)
	}
	counters.Add(2, "x", "v")
	counters.Add(1, "x", "a chat's id")
	timers.Observe(time.Second, "y")
	got := gather(t, set, "t_c_total")
	if got["a=x;b=v;"] != 2 || got["a=x;b=other;"] != 1 || len(got) != 6 {
		t.Errorf("counters: %v", got)
	}
	if got := gather(t, set, "t_d_seconds"); got["a=y;"] != 1 || got["a=x;"] != 0 {
		t.Errorf("timers: %v", got)
	}
}

func TestFamiliesAreReadWhenSomebodyAsks(t *testing.T) {
	set := metrics.NewSet("t_")
	gauge, total := set.Gauge("g", "G.", metrics.Label{Name: "a", Values: []string{"x"}}), set.Total("n_total", "N.")
	now := 1.0
	set.MustRegister(metrics.Collect(func(out chan<- prometheus.Metric) {
		gauge.Is(out, now, "x")
		total.Is(out, 10*now)
	}))
	for now = 1; now < 3; now++ {
		if g, n := gather(t, set, "t_g")["a=x;"], gather(t, set, "t_n_total")[""]; g != now || n != 10*now {
			t.Errorf("%v, %v at %v", g, n, now)
		}
	}
}

func TestCertificatesAreShownByTheirEnd(t *testing.T) {
	set := metrics.NewSet("t_")
	until := time.Unix(1_800_000_000, 0)
	set.Certificates(map[string]func() time.Time{"server": func() time.Time { return until }, "client": func() (none time.Time) { return none }})
	if got := gather(t, set, "t_certificate_expires_timestamp_seconds"); got["use=server;"] != 1_800_000_000 || got["use=client;"] != 0 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}
