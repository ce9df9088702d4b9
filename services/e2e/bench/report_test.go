package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// bound is a promise about a figure.
type bound struct {
	unit  string // name of the metric, such as "p50-ms"
	limit float64
	least bool // limit is the least the figure may be, not the most
}

// verdict is a promise and what was measured, in one line.
func (t bound) verdict(measured float64) string {
	relation, met := "≤", measured <= t.limit
	if t.least {
		relation, met = "≥", measured >= t.limit
	}
	word := "met"
	if !met {
		word = "NOT MET"
	}
	return fmt.Sprintf("%s: target %s %.4g, measured %.4g: %s", t.unit, relation, t.limit, measured, word)
}

// report prints a figure, and whether it is what was promised.
func (t bound) report(b *testing.B, measured float64) {
	b.Helper()
	b.ReportMetric(measured, t.unit)
	b.Log(t.verdict(measured))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// percentile is the smallest of the durations that p percent of them do not
// exceed (nearest rank).
func percentile(durations []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := 200; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	for p, want := range map[int]time.Duration{0: 1, 50: 100, 99: 198, 100: 200} {
		if got := percentile(all, p); got != want {
			t.Errorf("%d%%: %d, not %d", p, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		bound    bound
		measured float64
		want     string
	}{
		{bound{unit: "p50-ms", limit: 25}, 25, "p50-ms: target ≤ 25, measured 25: met"},
		{bound{unit: "p50-ms", limit: 25}, 25.5, "p50-ms: target ≤ 25, measured 25.5: NOT MET"},
		{bound{unit: "updates/s", limit: 300, least: true}, 299, "updates/s: target ≥ 300, measured 299: NOT MET"},
		{bound{unit: "updates/s", limit: 300, least: true}, 301, "updates/s: target ≥ 300, measured 301: met"},
	} {
		if got := tt.bound.verdict(tt.measured); got != tt.want {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}
