package lane

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	simSeed      = flag.Uint64("lane.seed", 0, "replay this one schedule and print its steps")
	simSchedules = flag.Int("lane.schedules", 20_000, "how many schedules the simulation runs")
)

// TestSimulation runs random schedules of one lane, two workers and the network
// between them, in which gateway and worker crash, messages come late or never,
// disks are replaced and people cancel, at any step. A failing seed is replayed
// with -lane.seed.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		w := newWorld(*simSeed, Step)
		w.trace = t.Logf
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *simSchedules
	if testing.Short() {
		n /= 10
	}
	for seed := uint64(1); seed <= uint64(n); seed++ {
		if err := newWorld(seed, Step).run(); err != nil {
			t.Fatalf("replay with -lane.seed=%d: %v", seed, err)
		}
	}
}

// TestSimulationCatchesBrokenLanes breaks one rule at a time; the simulation
// must notice each.
func TestSimulationCatchesBrokenLanes(t *testing.T) {
	for name, broken := range map[string]func(State, Input) (State, []Effect){
		"an unknown outcome is placed elsewhere": func(s State, in Input) (State, []Effect) {
			if s.Phase == Calling && !s.Waiting && in.Kind == Failed && in.Action == Unknown {
				return State{Phase: Unassigning}, []Effect{Close, Unassign}
			}
			return Step(s, in)
		},
		"a full worker is left in spite of doubt": func(s State, in Input) (State, []Effect) {
			s.Doubt = false
			return Step(s, in)
		},
		"RunTurn before ASSIGNED": func(s State, in Input) (State, []Effect) {
			if s.Phase == Placing && in.Kind == Placed {
				return State{Phase: Calling}, []Effect{Run}
			}
			return Step(s, in)
		},
		"an interrupted turn runs again by itself": func(s State, in Input) (State, []Effect) {
			if in.Kind == Finished && in.Outcome == Interrupted && s.Phase == Following {
				return State{Phase: Calling}, []Effect{Close, Run}
			}
			return Step(s, in)
		},
		"acknowledged before the commit": func(s State, in Input) (State, []Effect) {
			next, effects := Step(s, in)
			if next.Phase == Settling && s.Phase == Following {
				effects = append([]Effect{Acknowledge}, effects...)
			}
			return next, effects
		},
		"a cut stream is not watched again": func(s State, in Input) (State, []Effect) {
			if s.Phase == Following && in.Kind == Failed {
				return s, nil
			}
			return Step(s, in)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 5_000; seed++ {
				if newWorld(seed, broken).run() != nil {
					return
				}
			}
			t.Error("5000 schedules went well")
		})
	}
}

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
		if w.IntN(8) == 0 {
			stored = NewChat
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

// arrive lets one message reach its worker, or get lost.
func (w *world) arrive() {
	if len(w.network) == 0 {
		return
	}
	i := w.IntN(len(w.network))
	m := w.network[i]
	w.network = append(w.network[:i], w.network[i+1:]...)
	target := &w.workers[m.worker]
	if !target.up {
		w.fail(m.call, Unknown)
		return
	}
	w.trace("worker %d gets %v of turn %d", m.worker, m.kind, m.turn.id)
	r, known := target.rows[m.turn.id]
	switch {
	case m.kind == CancelTurn:
		if !known {
			target.rows[m.turn.id] = &row{progress: 2}
		} else if r.progress < 2 {
			r.progress, r.outcome = 2, Ended
		}
		m.turn.cancel = false
	case m.journal != target.journal:
		w.fail(m.call, InterruptAndUnpin)
	case !known && m.kind == Watch:
		w.fail(m.call, RunOrInterrupt)
	case !known && w.busy(target):
		w.fail(m.call, Wait)
	case !known && target.full:
		w.fail(m.call, WaitOrPlace)
	default:
		if !known {
			w.spawn(target, m)
		}
		if w.gateway.call == m.call {
			w.gateway.joined = true
			w.input(Input{Kind: Joined})
		}
	}
}

func (w *world) busy(target *worker) bool {
	for _, r := range target.rows {
		if r.progress < 2 {
			return true
		}
	}
	return false
}

func (w *world) spawn(target *worker, m message) {
	w.trace("turn %d starts at worker %d", m.turn.id, m.worker)
	target.rows[m.turn.id] = &row{}
	if w.store.thread && w.IntN(4) == 0 {
		target.rows[m.turn.id] = &row{progress: 2, outcome: NotResumable}
		return
	}
	if m.turn.starts++; m.turn.starts > 1 {
		w.err = fmt.Errorf("turn %d was started %d times", m.turn.id, m.turn.starts)
	}
	if head := w.store.head(); head != m.turn {
		w.err = fmt.Errorf("turn %d started out of order or after its end", m.turn.id)
	} else if head.stored < Assigned {
		w.err = fmt.Errorf("turn %d started before ASSIGNED was committed", m.turn.id)
	}
}

// stream delivers the next event of the open call.
func (w *world) stream() {
	g := &w.gateway
	t := w.store.head()
	if g.call == 0 || !g.joined || t == nil || g.state.Phase != Following {
		return
	}
	r, ok := w.workers[t.worker].rows[t.id]
	switch {
	case !ok || g.cursor >= r.progress:
	case !w.calm && w.IntN(30) == 0:
		w.input(Input{Kind: Gap})
	case g.cursor == 0 && r.progress == 1:
		g.cursor = 1
		if !t.named {
			w.input(Input{Kind: Named})
		}
	default:
		g.cursor = 2
		w.input(Input{Kind: Finished, Outcome: r.outcome})
	}
}

func (w *world) fail(call int, action Action) {
	if call == 0 || call != w.gateway.call {
		return
	}
	w.gateway.call, w.gateway.joined = 0, false
	w.input(Input{Kind: Failed, Action: action})
}

func (w *world) input(in Input) {
	for pending := []Input{in}; len(pending) > 0 && w.gateway.up && w.err == nil; {
		next, effects := w.step(w.gateway.state, pending[0])
		if *simSeed != 0 { // boxing its arguments is half the cost of a step
			w.trace("%+v --%+v--> %+v %v", w.gateway.state, pending[0], next, effects)
		}
		w.gateway.state = next
		pending = pending[1:]
		for _, e := range effects {
			answer, ok := w.effect(e)
			if !w.gateway.up || w.err != nil {
				return
			}
			if ok {
				pending = append(pending, answer)
			}
		}
	}
}

// effect carries out an effect, unless the gateway crashes over it.
func (w *world) effect(e Effect) (Input, bool) {
	t := w.store.head()
	switch e {
	case Load:
		h := Head{Held: w.store.pinned >= 0}
		if t != nil {
			h.Stored, h.Cancelled = t.stored, t.cancel
		}
		return Input{Kind: Loaded, Head: h}, true
	case Place:
		return w.place()
	case Run, Watch:
		w.gateway.calls++
		w.gateway.call, w.gateway.joined, w.gateway.cursor = w.gateway.calls, false, 0
		w.network = append(w.network, message{e, w.gateway.call, t, t.worker, t.journal})
	case CancelTurn:
		w.network = append(w.network, message{e, 0, t, t.worker, t.journal})
	case Pause:
		w.gateway.pause = true
	case Close:
		w.gateway.call, w.gateway.joined = 0, false
	case Acknowledge:
		if w.gateway.state.Phase == Settling {
			w.err = errors.New("acknowledged before the outcome is stored")
		}
	case Report, RaiseAlarm, Leave:
	default:
		return w.commit(e, t)
	}
	return Input{}, false
}

func (w *world) place() (Input, bool) {
	i := w.store.pinned
	if i < 0 {
		i = w.IntN(2)
	}
	if !w.workers[i].up {
		return Input{Kind: Unplaced}, true
	}
	w.gateway.picked = i
	return Input{Kind: Placed}, true
}

// commit writes to the store. The gateway may crash before or after it, and the
// commit may fail although it happened.
func (w *world) commit(e Effect, t *turn) (Input, bool) {
	fault := 9
	if !w.calm {
		fault = w.IntN(40)
	}
	if fault == 0 {
		w.gateway = gateway{calls: w.gateway.calls}
		return Input{}, false
	}
	if fault == 1 {
		return Input{Kind: CommitFailed}, true
	}
	w.apply(e, t)
	if fault == 2 {
		w.gateway = gateway{calls: w.gateway.calls}
		return Input{}, false
	}
	if fault == 3 {
		return Input{Kind: CommitFailed}, true
	}
	return Input{Kind: Committed}, true
}

func (w *world) apply(e Effect, t *turn) {
	if finished := e == Finish || e == Restart; finished && t.stored != Accepted {
		w.err = fmt.Errorf("turn %d has an outcome but was never accepted", t.id)
	}
	switch e {
	case Assign:
		t.stored, t.worker, t.journal = Assigned, w.gateway.picked, w.workers[w.gateway.picked].journal
		w.store.pinned = t.worker
	case Unassign:
		t.stored, w.store.pinned = Queued, -1
	case Accept:
		t.stored = Accepted
	case Name:
		t.named, w.store.thread = true, true
	case SettleNew:
		w.store.thread, w.store.pinned = false, -1
		t.settled = e
	case InterruptUnpin:
		w.store.pinned = -1
		t.settled = e
	case Restart:
		t.settled, w.store.thread = e, false
		again := &turn{id: len(w.store.turns), stored: Queued}
		i := 0
		for w.store.turns[i] != t {
			i++
		}
		w.store.turns = append(w.store.turns[:i+1], append([]*turn{again}, w.store.turns[i+1:]...)...)
	default:
		t.settled = e
	}
}
