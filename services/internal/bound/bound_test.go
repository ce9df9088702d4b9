package bound_test

import (
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/bound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		bound    bound.Bound
		measured float64
		want     string
	}{
		{bound.Bound{Unit: "p50-ms", Limit: 25}, 25, "p50-ms: target ≤ 25, measured 25: met"},
		{bound.Bound{Unit: "p50-ms", Limit: 25}, 25.5, "p50-ms: target ≤ 25, measured 25.5: NOT MET"},
		{bound.Bound{Unit: "updates/s", Limit: 300, Least: true}, 299, "updates/s: target ≥ 300, measured 299: NOT MET"},
		{bound.Bound{Unit: "updates/s", Limit: 300, Least: true}, 301, "updates/s: target ≥ 300, measured 301: met"},
	} {
		if got := tt.bound.Verdict(tt.measured); got != tt.want {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}
