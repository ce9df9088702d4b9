package workers_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/workers"
)

func TestAWorkerIsLostOnlyAfterATimeAndWhereAnotherTakesTurns(t *testing.T) {
	a, b := &worker{changed: make(chan struct{}), state: state("a", 1, 0)}, start(t, "b", 1, 0)
	stop := a.serve(t)
	d := directory(t, workers.Config{Targets: []string{a.address, b.address}, Lost: 20 * time.Millisecond})
	patient := directory(t, workers.Config{Targets: []string{a.address, b.address}, Lost: time.Hour})
	hasty := directory(t, workers.Config{Targets: []string{a.address, b.address}, Lost: time.Second})
	forever := directory(t, workers.Config{Targets: []string{a.address, b.address}})
	all := []*workers.Directory{d, patient, hasty, forever}
	for _, each := range all {
		eventually(t, each, "both reachable", func() bool { return answers(each, "a") && answers(each, "b") })
	}
	if d.Lost("a") || d.Lost("") {
		t.Error("a worker that answers is lost")
	}
	stop()
	for _, each := range all {
		eventually(t, each, "away", func() bool { return !answers(each, "a") })
	}
	for !d.Lost("a") || !hasty.Lost("a") {
		time.Sleep(time.Millisecond)
	}
	if patient.Lost("a") || forever.Lost("a") {
		t.Error("lost too early")
	}
	away := d.Workers()[slices.IndexFunc(d.Workers(), func(w workers.Worker) bool { return w.ID == "a" })].AwaySince
	if age := time.Since(away); age < 20*time.Millisecond || age > time.Minute {
		t.Errorf("away for %v", age)
	}
	draining := state("b", 1, 0)
	draining.Draining = true
	b.set(draining)
	eventually(t, d, "none takes turns", func() bool { return !d.Takes("") })
	eventually(t, hasty, "none takes turns", func() bool { return !hasty.Takes("") })
	if d.Lost("a") {
		t.Error("lost though nobody else takes turns")
	}
	// What kept b from taking turns may have kept a away: a has time to follow.
	before := time.Now()
	b.set(state("b", 1, 0))
	eventually(t, d, "one takes turns again", func() bool { return d.Takes("") })
	eventually(t, hasty, "one takes turns again", func() bool { return hasty.Takes("") })
	if hasty.Lost("a") && time.Since(before) < time.Second {
		t.Error("lost as soon as another one takes turns again")
	}
	a.serve(t)
	eventually(t, d, "back", func() bool { return d.Takes("a") && d.Takes("b") })
	if d.Lost("a") {
		t.Error("lost though it is back")
	}
}

// Behind a name no address is left of a worker that is gone, disk and all; and the
// gateway may never have met it.
func TestAWorkerThatWasNeverMetIsLostSomeTimeAfterTheBeginning(t *testing.T) {
	b := start(t, "b", 1, 0)
	resolver := &names{}
	resolver.set([]*net.SRV{record(t, b)})
	d := directory(t, workers.Config{Targets: []string{"dns:///workers.example:1"}, Resolver: resolver, Lost: 100 * time.Millisecond})
	began := time.Now()
	eventually(t, d, "b is met", func() bool { return answers(d, "b") })
	if d.Gone("old") {
		t.Error("behind a name somebody is known to be gone")
	}
	for !d.Lost("old") {
		time.Sleep(time.Millisecond)
	}
	if since := time.Since(began); since < 90*time.Millisecond {
		t.Errorf("lost after %v", since)
	}
}

func TestRestartsAreCountedOfProcessesNotOfConnections(t *testing.T) {
	a := &worker{changed: make(chan struct{}), state: state("a", 1, 0)}
	stop := a.serve(t)
	met := make(chan workers.Process, 16)
	config := workers.Config{Targets: []string{a.address, "passthrough:///" + a.address}, // one worker, two addresses
		Met: func(p workers.Process) { met <- p }}
	d := directory(t, config)
	atBoth := func(d *workers.Directory) func() bool {
		return func() bool { return d.Workers()[0].Reachable && d.Workers()[1].Reachable }
	}
	reached := atBoth(d)
	eventually(t, d, "reached at both", reached)
	again := func(process string, starts int32) {
		t.Helper()
		stop()
		eventually(t, d, "lost", func() bool { return !answers(d, "a") })
		next := state("a", 1, 0)
		next.ProcessId, next.StartCount = process, starts
		a.set(next)
		stop = a.serve(t)
		eventually(t, d, "back", reached)
	}
	for _, tt := range []struct {
		process string
		starts  int32
		want    int // restarts in all
	}{
		{"1", 0, 0}, // the connection alone was lost
		{"2", 0, 1}, // a worker that does not count
		{"3", 7, 2}, // it counts from now on
		{"3", 7, 2},
		{"6", 10, 5}, // two processes were missed
		{"7", 1, 6},  // its count began anew
	} {
		again(tt.process, tt.starts)
		if got := d.Restarts(); got != tt.want {
			t.Errorf("process %s, start %d: %d restarts, want %d", tt.process, tt.starts, got, tt.want)
		}
	}
	var known workers.Process
	for range 5 { // of which the last may be told of after the worker was seen at its other address
		known = <-met
	}
	if want := (workers.Process{WorkerID: "a", ProcessID: "7", Starts: 1, Restarts: 6}); known != want {
		t.Errorf("noted %+v", known)
	}
	// While no gateway ran, it was restarted twice.
	config.Known = []workers.Process{known, {WorkerID: "gone", Restarts: 4}}
	third := state("a", 1, 0)
	third.ProcessId, third.StartCount = "9", 3
	a.set(third)
	next := directory(t, config)
	eventually(t, next, "reached at both", atBoth(next))
	if got := next.Restarts(); got != 12 {
		t.Errorf("after the gateway's restart: %d", got)
	}
	if w := next.Workers()[0]; w.Restarts != 8 {
		t.Errorf("worker = %+v", w)
	}
}

// TestPlacementSpreadsEvenly: however turns come and go, workers of one size differ
// by one slot at most.
func TestPlacementSpreadsEvenly(t *testing.T) {
	const count, slots = 4, 16
	var config workers.Config
	for i := range count {
		config.Targets = append(config.Targets, start(t, fmt.Sprint("w", i), slots, 0).address)
	}
	d := directory(t, config)
	eventually(t, d, "all reached", func() bool {
		return !slices.ContainsFunc(d.Workers(), func(w workers.Worker) bool { return !w.Reachable })
	})
	taken := map[string]int{}
	for i := range count * slots {
		p, ok := d.Take("")
		if !ok {
			t.Fatalf("no room for turn %d", i)
		}
		taken[p.Worker.ID]++
		least, most := slots, 0
		for _, w := range d.Workers() {
			least, most = min(least, taken[w.ID]), max(most, taken[w.ID])
		}
		if most-least > 1 {
			t.Fatalf("after %d turns: %v", i+1, taken)
		}
	}
	if _, ok := d.Take(""); ok {
		t.Error("more turns than slots")
	}
}
