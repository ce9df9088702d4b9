package bench

import (
	"fmt"
	"math"
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
}

// flatWithin is what a figure may grow by over a measurement, as a part of it.
const flatWithin = 0.05

// line fits a straight line (least squares): the mean, and what the figure grows by
// in an hour.
func (s series) line() (mean, perHour float64) {
	n := float64(len(s.samples))
	var at float64
	for _, one := range s.samples {
		at += one.at.Hours() / n
		mean += one.value / n
	}
	var both, square float64
	for _, one := range s.samples {
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
	word := "flat"
	if !flat {
		word = "NOT FLAT"
	}
	return fmt.Sprintf("%s: mean %.4g %s, slope %+.3g %s/h, %+.3g in %v: %s", s.name, mean, s.unit, perHour, s.unit, grown,
		time.Duration(math.Round(hours*3600))*time.Second, word), flat
}

func TestSlope(t *testing.T) {
	points := func(from, perMinute float64) (all []sample) {
		for i := range 60 {
			noise := float64(i%2)*4 - 2
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
		{"ten percent", points(100, 0.1/0.59), 0, false},
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
	if mean, perHour := (series{samples: []sample{{0, 10}, {30 * time.Minute, 11}, {time.Hour, 12}}}).line(); mean != 11 || math.Abs(perHour-2) > 1e-9 {
		t.Errorf("mean %v, %v an hour", mean, perHour)
	}
}
