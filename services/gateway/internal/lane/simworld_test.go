package lane

import (
	"fmt"
	"math/rand/v2"
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

func (s *store) head() *turn {
	for _, t := range s.turns {
		if t.settled == None {
			return t
		}
	}
	return nil
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
		w.progress()
	}
	return w.err
}

func (w *world) chaos() {
	switch i := w.IntN(2); w.IntN(24) {
	case 0:
		w.trace("gateway crashes")
		w.gateway = gateway{calls: w.gateway.calls}
	case 1:
		w.trace("worker %d crashes", i)
		w.workers[i].up = false
		if t := w.store.head(); t != nil && w.gateway.call != 0 && t.worker == i {
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
			w.store.add(Queued)
			w.input(Input{Kind: Wake})
		}
	case 8:
		w.input(Input{Kind: Overdue})
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
