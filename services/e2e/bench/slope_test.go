package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// sample is a figure at a moment.
type sample struct {
	at    time.Duration // since the beginning
	value float64
}

// series is a figure that is to stay flat.
type series struct {
	name    string
	unit    string
	slack   float64 // growth that means nothing, however small the figure is
	samples []sample
	// rests says that the figure is judged by what it is while nothing is to be done,
	// before and after: how much goes on at once does not count then.
	rests         bool
	before, after float64
}

// stretches is in how many parts a measurement is cut. The least figure of each
// counts: what is held for as long as the machine is busy comes and goes, and what
// leaks is there in the quietest moment, too.
const stretches = 10

// lows are the least figures of each stretch.
func (s series) lows() (lows []sample) {
	n := len(s.samples)
	if n < 2*stretches {
		return s.samples
	}
	for i := range stretches {
		lows = append(lows, slices.MinFunc(s.samples[i*n/stretches:(i+1)*n/stretches], func(a, b sample) int { return cmp.Compare(a.value, b.value) }))
	}
	return lows
}

// flatWithin is what a figure may grow by over a measurement, as a part of it.
const flatWithin = 0.05

// line fits a straight line (least squares) to the lows: their mean, and what the figure grows by
// in an hour.
func (s series) line() (mean, perHour float64) {
	lows := s.lows()
	n := float64(len(lows))
	var at float64
	for _, one := range lows {
		at += one.at.Hours() / n
		mean += one.value / n
	}
	var both, square float64
	for _, one := range lows {
		d := one.at.Hours() - at
		both += d * (one.value - mean)
		square += d * d
	}
	if square == 0 {
		return mean, 0
	}
	return mean, both / square
}

// judge says how the figure went, and whether it stayed flat: what it grew by, by
// the line, is a small part of it or next to nothing.
func (s series) judge() (verdict string, flat bool) {
	mean, perHour := s.line()
	var hours float64
	if n := len(s.samples); n > 0 {
		hours = (s.samples[n-1].at - s.samples[0].at).Hours()
	}
	grown := perHour * hours
	flat = grown <= max(flatWithin*mean, s.slack)
	rest := ""
	if s.rests {
		flat = s.after <= s.before+s.slack
		rest = fmt.Sprintf("; at rest %.4g, then %.4g", s.before, s.after)
	}
	word := "flat"
	if !flat {
		word = "NOT FLAT"
	}
	return fmt.Sprintf("%s: mean %.4g %s, slope %+.3g %s/h, %+.3g in %v%s: %s", s.name, mean, s.unit, perHour, s.unit, grown,
		time.Duration(math.Round(hours*3600))*time.Second, rest, word), flat
}

func TestSlope(t *testing.T) {
	points := func(from, perMinute float64) (all []sample) {
		for i := range 60 {
			noise := float64(i%4) * 4 * float64(1+i/30) // more of it later
			all = append(all, sample{time.Duration(i) * time.Minute, from + perMinute*float64(i) + noise})
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		samples []sample
		slack   float64
		flat    bool
	}{
		{"flat, with noise", points(100, 0), 0, true},
		{"falling", points(100, -1), 0, true},
		{"four percent", points(100, 0.04/0.59), 0, true},
		{"ten percent", points(100, 0.12/0.59), 0, false},
		{"a little more of next to nothing", points(0, 0.04), 3, true},
		{"a lot more of next to nothing", points(0, 0.5), 3, false},
		{"one sample", []sample{{0, 5}}, 0, true},
		{"none", nil, 0, true},
	} {
		s := series{name: "x", unit: "MB", slack: tt.slack, samples: tt.samples}
		if verdict, flat := s.judge(); flat != tt.flat {
			t.Errorf("%s: %s", tt.name, verdict)
		}
	}
	busy := series{name: "x", slack: 2, samples: points(100, 1), rests: true, before: 30}
	for after, want := range map[float64]bool{29: true, 32: true, 33: false} {
		busy.after = after
		if verdict, flat := busy.judge(); flat != want {
			t.Error(verdict)
		}
	}
	if mean, perHour := (series{samples: []sample{{0, 10}, {30 * time.Minute, 11}, {time.Hour, 12}}}).line(); mean != 11 || math.Abs(perHour-2) > 1e-9 {
		t.Errorf("mean %v, %v an hour", mean, perHour)
	}
}
