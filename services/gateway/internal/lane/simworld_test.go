package lane

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A world is everything around a lane, with time that passes only step by step.
type world struct {
	*rand.Rand
	schedule
	step     func(State, Input) (State, []Effect)
	trace    func(string) // nil: nobody looks
	telegram telegram
	store    store
	workers  [2]worker
	network  []message // on the way to workers, in no order
	gateway  gateway
	calm     bool // no more faults
	now      int  // steps so far: the time that all agree on
	steps    int  // without faults but the one that is planned
	commits  int  // of the gateway, tried
	deaths   deaths
	err      error
}

// Telegram keeps what people write until it is confirmed, and what they hear.
type telegram struct {
	written   []Stored // update ids are places in it
	confirmed int      // updates below it are forgotten
	heard     []*post  // in the order of their first arrival
}

// The store survives crashes of the gateway.
type store struct {
	turns  []*turn // in order of their updates
	cursor int     // updates below it are stored
	pinned int     // worker of the session, -1: none
	pinner *turn   // whose assignment pinned it
	thread bool
	outbox []*post
}

type turn struct {
	id, update      int
	stored          Stored
	settled         Effect // how it was settled, None: it was not
	worker, journal int
	named           bool
	cancel          bool // asked and not answered
	starts          int
	interrupted     int  // when, 0: it was not
	freed           bool // decided about, or parked
	chosen          bool // a person decided that it is run
	lost            bool // interrupted because its worker did not come back
	fresh           bool // begins a new thread, whatever the session has
}

// A post is a message to the person.
type post struct {
	turn    *turn
	sending bool // Telegram may have been called
	sent    bool
	sends   int // what Telegram saw
	doubts  int // times that it was put back without knowing
	by      int // process of the gateway that touched it last
}

// A worker's disk survives its crashes, unless it is replaced.
type worker struct {
	up, full bool
	away     int // since when it is not up
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
	up      bool
	state   State
	call    int // open call, 0: none
	calls   int
	joined  bool
	cursor  int  // events seen on the call
	pause   bool // a pause runs
	picked  int
	head    *turn // as it was loaded
	lapses  int   // when what is held back is no more, 0: nothing is
	fetched []int // updates that are not committed
	posting *post // marked as being sent
	called  bool  // Telegram has it
	starts  int   // of the program
}

type message struct {
	kind            Effect // Run, Watch, CancelTurn
	call            int
	turn            *turn
	worker, journal int
}

func newWorld(s schedule, step func(State, Input) (State, []Effect)) *world {
	w := &world{Rand: rand.New(rand.NewPCG(s.seed, 7)), schedule: s, step: step, deaths: deaths{}}
	w.store.pinned = -1
	for range 1 + w.IntN(4) {
		stored := Queued
		switch w.IntN(8) {
		case 0:
			stored = NewChat
		case 1:
			stored = NewPrompt
		}
		w.telegram.written = append(w.telegram.written, stored)
	}
	for i := range w.workers {
		w.workers[i] = worker{up: true, journal: 10 * i, rows: map[int]*row{}}
	}
	return w
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf(format, args...))
	}
}

// add stores a message of the person, which lets go on what was held back.
func (s *store) add(update int, stored Stored) {
	s.free()
	s.turns = append(s.turns, &turn{id: len(s.turns), update: update, stored: stored})
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
	next := &turn{id: len(s.turns), update: t.update, stored: Queued, chosen: chosen}
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

// unsent is the oldest message that is not known to have arrived.
func (s *store) unsent() *post {
	for _, p := range s.outbox {
		if !p.sent {
			return p
		}
	}
	return nil
}

// settled says whether nothing is left to be done.
func (w *world) settled() bool {
	return w.store.cursor == len(w.telegram.written) && w.store.head() == nil && w.store.unsent() == nil &&
		w.gateway.up && w.gateway.state.Phase == Idle
}

// run plays a schedule and says what became of the promises.
func (w *world) run() error {
	if w.fault == nothing {
		for range 200 {
			if w.err == nil {
				w.chaos()
			}
		}
	}
	w.calm = true
	for i := range w.workers {
		w.workers[i].full = false
	}
	for steps := 0; w.err == nil && !w.settled(); steps++ {
		if steps > 5_000 {
			w.err = fmt.Errorf("stuck in %+v with head %+v", w.gateway.state, w.store.head())
			break
		}
		w.now++
		w.planned()
		w.progress()
	}
	if w.err == nil {
		w.err = w.judge()
	}
	return w.err
}

// judge looks at a world in which all is done.
func (w *world) judge() error {
	stored := make([]int, len(w.telegram.written))
	posts := map[*turn]int{}
	for _, p := range w.store.outbox {
		posts[p.turn]++
		if p.sends == 0 || p.sends > 1+p.doubts {
			return fmt.Errorf("the message about turn %d was sent %d times, of which %d were in doubt", p.turn.id, p.sends, p.doubts)
		}
	}
	if !slices.Equal(w.store.outbox, w.telegram.heard) {
		return fmt.Errorf("messages were heard in another order than they were written in")
	}
	updates := -1
	for _, t := range w.store.turns {
		if t.update != updates { // a further attempt stands behind the one before
			stored[t.update]++
			if t.update < updates {
				return fmt.Errorf("update %d was stored after %d", t.update, updates)
			}
			updates = t.update
		}
		told := t.settled != Restart && t.settled != Postpone
		if t.settled == None || posts[t] > 1 || told != (posts[t] == 1) {
			return fmt.Errorf("turn %d ended with %v and %d messages", t.id, t.settled, posts[t])
		}
	}
	for id, times := range stored {
		if times != 1 {
			return fmt.Errorf("update %d was stored %d times", id, times)
		}
	}
	return nil
}
