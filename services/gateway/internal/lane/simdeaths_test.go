package lane

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The rows of the design's crash table.
const (
	beforeIngest   = "getUpdates, before the commit"
	afterIngest    = "the commit, before the next poll"
	beforeRun      = "ASSIGNED, before RunTurn"
	runSent        = "RunTurn sent, not yet ACCEPTED"
	midStream      = "ACCEPTED, mid-stream"
	beforeFinished = "finished event, before FINISHED is committed"
	beforeSend     = "FINISHED, before the send"
	duringSend     = "FINISHED, during the send"
	notSpawned     = "worker: journal row, before spawn"
	whileRunning   = "worker: while Codex runs"
	diskGone       = "worker: disk gone"
	lostWorker     = "worker: lost"
)

// steps are those of the lane at which each row can happen; a simulation has to
// have seen it happen there. + marks a lane that waits.
var steps = map[string][]string{
	beforeIngest:   alongside,
	afterIngest:    alongside,
	beforeRun:      {"assigning", "calling+", "probing", "probing+", "unassigning", "loading+"},
	runSent:        {"calling", "calling+", "probing", "probing+", "accepting", "loading+"},
	midStream:      {"accepting", "attaching", "attaching+", "following", "naming", "loading+"},
	beforeFinished: {"settling"},
	beforeSend:     alongside,
	duringSend:     alongside,
	notSpawned:     {"calling", "probing", "probing+", "attaching", "attaching+", "following", "loading+", "no gateway"},
	whileRunning:   {"calling", "probing", "probing+", "attaching", "attaching+", "following", "loading+", "no gateway"},
	lostWorker:     {"calling", "probing", "attaching"},
	diskGone:       {"calling", "probing", "probing+", "attaching", "attaching+", "no gateway"},
}

// alongside are the steps of a lane that goes its own way meanwhile.
var alongside = []string{"idle", "placing+", "assigning", "calling", "calling+", "probing", "probing+", "accepting", "attaching", "attaching+",
	"following", "settling", "holding", "loading+"}

// missing are the rows and steps that were not met.
func (d deaths) missing() (all []death) {
	for row, at := range steps {
		for _, step := range at {
			if d[death{row, step}] == 0 {
				all = append(all, death{row, step})
			}
		}
	}
	return all
}

// A death is one of the table, at a step of the lane.
type death struct{ row, step string }

// deaths counts them.
type deaths map[death]int

func (d deaths) count(w *world, row string) {
	step := "no gateway"
	if s := w.gateway.state; w.gateway.up {
		step = s.Phase.String()
		if s.Waiting {
			step += "+"
		}
	}
	d[death{row, step}]++
}

// gateway counts a death of the gateway for every row that it is an instance of.
func (d deaths) gateway(w *world) {
	g := &w.gateway
	if g.state.Phase == Left {
		return // in good order
	}
	if n := len(g.fetched); n > 0 && g.fetched[n-1] >= w.store.cursor {
		d.count(w, beforeIngest)
	}
	if w.store.cursor > w.telegram.confirmed {
		d.count(w, afterIngest)
	}
	if t := w.store.head(); t != nil {
		switch {
		case t.stored == Assigned && w.asked(t):
			d.count(w, runSent)
		case t.stored == Assigned:
			d.count(w, beforeRun)
		case t.stored == Accepted && g.state.Phase == Settling:
			d.count(w, beforeFinished)
		case t.stored == Accepted:
			d.count(w, midStream)
		}
	}
	if p := w.store.unsent(); p != nil && p.sending {
		d.count(w, duringSend)
	} else if p != nil {
		d.count(w, beforeSend)
	}
}

// asked says whether a RunTurn is on its way or was carried out.
func (w *world) asked(t *turn) bool {
	if _, known := w.workers[t.worker].rows[t.id]; known {
		return true
	}
	return slices.ContainsFunc(w.network, func(m message) bool { return m.kind == Run && m.turn == t })
}

// worker counts a death of a worker, or of its disk.
func (d deaths) worker(w *world, i int, disk bool) {
	for _, t := range w.store.turns {
		r, known := w.workers[i].rows[t.id]
		switch {
		case !known || t.settled != None || t.stored < Assigned:
		case disk:
			d.count(w, diskGone)
		case r.progress == 0:
			d.count(w, notSpawned)
		case r.progress == 1:
			d.count(w, whileRunning)
		}
	}
}

func (d deaths) add(other deaths) {
	for at, count := range other {
		d[at] += count
	}
}

// String has a line for each row of the table, and its steps beneath it.
func (d deaths) String() string {
	var b strings.Builder
	byDeath := func(a, b death) int { return strings.Compare(a.row+a.step, b.row+b.step) }
	last := ""
	for _, at := range slices.SortedFunc(maps.Keys(d), byDeath) {
		if at.row != last {
			fmt.Fprintf(&b, "\n  %s\n", at.row)
			last = at.row
		}
		fmt.Fprintf(&b, "    %-24s %9d\n", at.step, d[at])
	}
	return b.String()
}
