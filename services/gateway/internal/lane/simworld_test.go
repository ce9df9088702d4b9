package lane

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A world is everything around a lane, with time that passes only step by step.
type world struct {
	*rand.Rand
	step    func(State, Input) (State, []Effect)
	trace   func(string, ...any)
	store   store
	workers [2]worker
	network []message // on the way to workers, in no order
	gateway gateway
	calm    bool // no more faults
	now     int  // steps so far: the time that all agree on
	err     error
}

// The store survives crashes of the gateway.
type store struct {
	turns  []*turn // in order of their updates
	pinned int     // worker of the session, -1: none
	thread bool
}

type turn struct {
	id              int
	stored          Stored
	settled         Effect // how it was settled, None: it was not
	worker, journal int
	named           bool
	cancel          bool // asked and not answered
	starts          int
	interrupted     int  // when, 0: it was not
	freed           bool // decided about, or parked
	chosen          bool // a person decided that it is run
	fresh           bool // begins a new thread, whatever the session has
}

// A worker's disk survives its crashes, unless it is replaced.
type worker struct {
	up, full bool
	journal  int
	rows     map[int]*row
}

// A row runs through: started, named, finished.
type row struct {
	progress int
	outcome  Outcome
}

// The gateway's memory is lost in a crash.
type gateway struct {
	up     bool
	state  State
	call   int // open call, 0: none
	calls  int
	joined bool
	cursor int  // events seen on the call
	pause  bool // a pause runs
	picked int
	head   *turn // as it was loaded
	lapses int   // when what is held back is no more, 0: nothing is
}

type message struct {
	kind            Effect // Run, Watch, CancelTurn
	call            int
	turn            *turn
	worker, journal int
}

func newWorld(seed uint64, step func(State, Input) (State, []Effect)) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), step: step, trace: func(string, ...any) {}}
	w.store.pinned = -1
	for range 1 + w.IntN(4) {
		stored := Queued
		switch w.IntN(8) {
		case 0:
			stored = NewChat
		case 1:
			stored = NewPrompt
		}
		w.store.add(stored)
	}
	for i := range w.workers {
		w.workers[i] = worker{up: true, journal: 10 * i, rows: map[int]*row{}}
	}
	return w
}

func (s *store) add(stored Stored) {
	s.turns = append(s.turns, &turn{id: len(s.turns), stored: stored})
}

// say stores a message of the person, which lets go on what was held back.
func (s *store) say(stored Stored) {
	s.free()
	s.add(stored)
}

func (s *store) free() {
	for _, t := range s.turns {
		t.freed = t.freed || t.interrupted > 0
	}
}

func (s *store) head() *turn {
	var oldest *turn
	for _, t := range s.turns {
		switch {
		case t.settled != None:
		case t.stored >= Assigned:
			return t
		case oldest == nil:
			oldest = t
		}
	}
	return oldest
}

// again puts the next attempt of a turn at its place.
func (s *store) again(t *turn, chosen bool) *turn {
	next := &turn{id: len(s.turns), stored: Queued, chosen: chosen}
	s.turns = slices.Insert(s.turns, 1+slices.Index(s.turns, t), next)
	return next
}

// patient is how long an interrupted turn holds its lane back.
const patient = 40

// heldSince is when the turn was interrupted that holds a turn back, 0: none does.
func (s *store) heldSince(t *turn) (since int) {
	if t == nil || t.chosen {
		return 0
	}
	for _, other := range s.turns {
		if !other.freed {
			since = max(since, other.interrupted)
		}
	}
	return since
}

// decide lets the person decide about the i-th turn, if it waits for that.
func (w *world) decide(i int) {
	t := w.store.turns[i]
	if t.interrupted == 0 || t.settled == None {
		return
	}
	drop := w.IntN(3) == 0
	w.trace("decision about turn %d, drop: %v", t.id, drop)
	t.interrupted, t.freed = 0, true
	if !drop {
		w.store.again(t, true)
	}
	w.input(Input{Kind: Wake})
}

// run plays 150 steps with faults, then as many without as the rest needs.
func (w *world) run() error {
	for range 150 {
		if w.err == nil {
			w.chaos()
		}
	}
	w.calm = true
	for i := range w.workers {
		w.workers[i].full = false
		w.start(i)
	}
	for steps := 0; w.err == nil && (w.store.head() != nil || w.gateway.state.Phase != Idle || !w.gateway.up); steps++ {
		if steps > 3_000 {
			return fmt.Errorf("stuck in %+v with head %+v", w.gateway.state, w.store.head())
		}
		w.now++
		w.progress()
	}
	return w.err
}

func (w *world) chaos() {
	w.now++
	switch i := w.IntN(2); w.IntN(25) {
	case 0:
		w.trace("gateway crashes")
		w.gateway = gateway{calls: w.gateway.calls}
	case 1:
		w.trace("worker %d crashes", i)
		w.workers[i].up = false
		if w.gateway.call != 0 && w.gateway.head.worker == i {
			w.fail(w.gateway.call, Unknown)
		}
	case 2:
		w.start(i)
	case 3:
		if !w.workers[i].up && w.IntN(3) == 0 {
			w.trace("disk of worker %d is replaced", i)
			w.workers[i].journal++
			w.workers[i].rows = map[int]*row{}
		}
	case 4:
		w.workers[i].full = !w.workers[i].full
	case 5:
		w.trace("call is cut")
		w.fail(w.gateway.call, Unknown)
	case 6:
		if t := w.store.head(); t != nil && t.stored != NewChat && w.gateway.up {
			w.trace("cancel of turn %d", t.id)
			t.cancel = true
			w.input(Input{Kind: Cancel})
		}
	case 7:
		if len(w.store.turns) < 6 {
			w.store.say(Queued)
			w.input(Input{Kind: Wake})
		}
	case 8:
		w.input(Input{Kind: Overdue})
	case 9:
		w.decide(w.IntN(len(w.store.turns)))
	default:
		w.progress()
	}
}

// progress does one of the things that bring a turn forward.
func (w *world) progress() {
	switch w.IntN(5) {
	case 0:
		if !w.gateway.up {
			w.trace("gateway starts")
			w.gateway.up = true
			w.input(Input{Kind: Wake})
		}
		if w.gateway.state.Phase == Idle {
			w.input(Input{Kind: Wake})
		}
	case 1:
		if w.gateway.pause {
			w.gateway.pause = false
			w.input(Input{Kind: Elapsed})
		}
		if g := &w.gateway; g.lapses > 0 && w.now >= g.lapses {
			g.lapses = 0
			w.input(Input{Kind: Lapse})
		}
	case 2:
		w.arrive()
	case 3:
		for i := range w.workers {
			w.work(i)
		}
	case 4:
		w.stream()
	}
}

func (w *world) start(i int) {
	if w.workers[i].up {
		return
	}
	w.trace("worker %d starts", i)
	w.workers[i].up = true
	for _, r := range w.workers[i].rows {
		if r.progress < 2 {
			*r = row{progress: 2, outcome: Interrupted}
		}
	}
}

// work lets Codex at one worker make a step.
func (w *world) work(i int) {
	for id := range len(w.store.turns) { // not over the map: its order is not the seed's
		r, ok := w.workers[i].rows[id]
		if ok && w.workers[i].up && r.progress < 2 && w.IntN(2) == 0 {
			r.progress++
		}
	}
}
