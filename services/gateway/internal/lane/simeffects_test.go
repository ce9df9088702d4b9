package lane

import (
	"errors"
	"fmt"
)

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
	w.note("worker %d gets %v of turn %d", m.worker, m.kind, m.turn.id)
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
	w.note("turn %d starts at worker %d", m.turn.id, m.worker)
	target.rows[m.turn.id] = &row{}
	if w.store.thread && !m.turn.fresh && w.IntN(4) == 0 {
		target.rows[m.turn.id] = &row{progress: 2, outcome: NotResumable}
		return
	}
	if !w.calm && w.IntN(8) == 0 {
		target.rows[m.turn.id] = &row{progress: 2, outcome: NotStarted}
		return
	}
	if m.turn.starts++; m.turn.starts > 1 {
		w.err = fmt.Errorf("turn %d was started %d times", m.turn.id, m.turn.starts)
	}
	if head := w.store.head(); m.turn.lost {
		// The call was on its way when its worker was given up.
	} else if head != m.turn {
		w.err = fmt.Errorf("turn %d started out of order or after its end", m.turn.id)
	} else if head.stored < Assigned {
		w.err = fmt.Errorf("turn %d started before ASSIGNED was committed", m.turn.id)
	}
}

// stream delivers the next event of the open call.
func (w *world) stream() {
	g := &w.gateway
	t := g.head
	if g.call == 0 || !g.joined || g.state.Phase != Following {
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
		if w.trace != nil { // boxing its arguments is half the cost of a step
			w.note("%+v --%+v--> %+v %v", w.gateway.state, pending[0], next, effects)
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
	t := w.gateway.head
	switch e {
	case Load:
		t = w.store.head()
		w.gateway.head, w.gateway.lapses = t, 0
		since := w.store.heldSince(t)
		h := Head{Held: w.store.pinned >= 0, HeldBack: since > 0, Lapsed: since > 0 && w.now >= since+patient}
		if t != nil {
			h.Stored, h.Cancelled = t.stored, t.cancel
		}
		return Input{Kind: Loaded, Head: h}, true
	case Place:
		return w.place()
	case Run, Watch:
		if w.lost(t.worker) {
			w.deaths.count(w, lostWorker)
			return Input{Kind: Failed, Action: Lost}, true
		}
		w.gateway.calls++
		w.gateway.call, w.gateway.joined, w.gateway.cursor = w.gateway.calls, false, 0
		w.network = append(w.network, message{e, w.gateway.call, t, t.worker, t.journal})
	case CancelTurn:
		w.network = append(w.network, message{e, 0, t, t.worker, t.journal})
	case Pause:
		w.gateway.pause = true
	case Hold:
		w.gateway.lapses = w.store.heldSince(t) + patient
	case Close:
		w.gateway.call, w.gateway.joined = 0, false
	case Acknowledge:
		if w.gateway.state.Phase == Settling {
			w.err = errors.New("acknowledged before the outcome is stored")
		}
		if t.settled == Interrupt || t.settled == InterruptUnpin {
			w.network = append(w.network, message{CancelTurn, 0, t, t.worker, t.journal})
		}
	case Report, RaiseAlarm, Leave:
	default:
		return w.commit(e, t)
	}
	return Input{}, false
}

func (w *world) place() (Input, bool) {
	i := w.store.pinned
	switch {
	case i < 0:
		i = w.IntN(2)
	case w.lost(i):
		i = 1 - i
		w.store.pinned, w.store.thread = -1, false
	}
	if !w.workers[i].up {
		return Input{Kind: Unplaced}, true
	}
	w.gateway.picked = i
	return Input{Kind: Placed}, true
}

// commit writes what the lane decided about its head.
func (w *world) commit(e Effect, t *turn) (Input, bool) {
	if e == Assign && t != w.store.head() { // a decision took its place
		return Input{Kind: CommitFailed}, true
	}
	switch w.transaction(func() { w.apply(e, t) }) {
	case committed:
		return Input{Kind: Committed}, true
	case unsure:
		return Input{Kind: CommitFailed}, true
	}
	return Input{}, false
}

func (w *world) apply(e Effect, t *turn) {
	w.allow(e, t)
	switch e {
	case Park:
		w.store.free()
	case Assign:
		t.stored, t.worker, t.journal = Assigned, w.gateway.picked, w.workers[w.gateway.picked].journal
		if w.store.pinned != t.worker {
			w.store.pinned, w.store.pinner = t.worker, t
		}
	case Unassign:
		if t.stored = Queued; w.store.pinner == t {
			w.store.pinned = -1
		}
	case Accept:
		t.stored = Accepted
	case Name:
		t.named, w.store.thread = true, true
	case Renew:
		t.stored, w.store.thread, w.store.pinned = Queued, false, -1
	case Restart, Postpone, Renumber:
		t.settled = e
		w.store.again(t, t.chosen).fresh = e == Restart // the session keeps its thread until there is another
	case SettleNew:
		w.store.thread, w.store.pinned = false, -1
		w.tell(e, t)
	case Interrupt, InterruptUnpin:
		if e == InterruptUnpin {
			w.store.pinned = -1
		}
		t.interrupted, t.lost = w.now, w.lost(t.worker)
		w.tell(e, t)
	default:
		w.tell(e, t)
	}
}

// allow holds a commit to the rules.
func (w *world) allow(e Effect, t *turn) {
	if finished := e == Finish || e == Restart || e == Postpone; finished && t.stored != Accepted {
		w.err = fmt.Errorf("turn %d has an outcome but was never accepted", t.id)
	}
	switch since := w.store.heldSince(t); {
	case since == 0:
	case e == Assign, e == SettleNew, e == Renew:
		w.err = fmt.Errorf("turn %d goes on while it is held back", t.id)
	case e == Park && w.now < since+patient:
		w.err = fmt.Errorf("turn %d is let go on too early", t.id)
	}
}

// tell settles a turn, and has the person told of it in the same commit.
func (w *world) tell(e Effect, t *turn) {
	t.settled = e
	w.store.outbox = append(w.store.outbox, &post{turn: t})
}
