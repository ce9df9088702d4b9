// Package bound prints what a benchmark measured next to what the project
// promises. A promise that was not kept is said, and fails nothing: a busy machine
// is no failure.
package bound

import (
	"fmt"
	"testing"
)

// Bound is a promise about a figure.
type Bound struct {
	Unit  string // name of the metric, such as "p50-ms"
	Limit float64
	Least bool // Limit is the least the figure may be, not the most
}

// Verdict is the promise and what was measured, in one line.
func (p Bound) Verdict(measured float64) string {
	relation, met := "≤", measured <= p.Limit
	if p.Least {
		relation, met = "≥", measured >= p.Limit
	}
	word := "met"
	if !met {
		word = "NOT MET"
	}
	return fmt.Sprintf("%s: target %s %.4g, measured %.4g: %s", p.Unit, relation, p.Limit, measured, word)
}

// Report prints a figure, and whether it is what was promised.
func (p Bound) Report(b *testing.B, measured float64) {
	b.Helper()
	b.ReportMetric(measured, p.Unit)
	b.Log(p.Verdict(measured))
}
