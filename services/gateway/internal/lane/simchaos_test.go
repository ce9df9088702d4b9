package lane

// chaos is a step in which anything may happen.
func (w *world) chaos() {
	w.now++
	switch i := w.IntN(2); w.IntN(26) {
	case 0:
		w.crash()
	case 1:
		w.kill(i)
	case 2:
		w.start(i)
	case 3:
		if !w.workers[i].up && w.IntN(3) == 0 {
			w.replace(i)
		}
	case 4:
		w.workers[i].full = !w.workers[i].full
	case 5:
		w.note("call is cut")
		w.fail(w.gateway.call, Unknown)
	case 6:
		w.cancel()
	case 7:
		w.write()
	case 8:
		w.input(Input{Kind: Overdue})
	case 9:
		w.decide(w.IntN(max(1, len(w.store.turns))))
	case 10:
		if w.IntN(4) == 0 {
			w.leave()
		}
	default:
		w.progress()
	}
}

// progress does one of the things that bring a turn forward.
func (w *world) progress() {
	switch w.IntN(7) {
	case 0:
		if !w.gateway.up {
			w.note("gateway starts")
			w.gateway.up = true
			w.gateway.starts++
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
			if w.calm {
				w.start(i)
			}
			w.work(i)
		}
	case 4:
		w.stream()
	case 5:
		w.poll()
	case 6:
		w.deliver()
	}
}

// crash ends the gateway wherever it stands.
func (w *world) crash() {
	w.note("gateway crashes")
	if w.gateway.up {
		w.deaths.gateway(w)
	}
	w.gateway = gateway{calls: w.gateway.calls, starts: w.gateway.starts}
}

// leave ends the gateway in good order, or because it was replaced.
func (w *world) leave() {
	if !w.gateway.up {
		return
	}
	w.input(Input{Kind: Stop})
	if w.gateway.up && w.gateway.state.Phase != Left {
		w.input(Input{Kind: GiveUp})
	}
	w.crash()
}

// kill ends a worker, and with it every call to it.
func (w *world) kill(i int) {
	w.note("worker %d crashes", i)
	if w.workers[i].up {
		w.deaths.worker(w, i, false)
	}
	w.workers[i].up, w.workers[i].away = false, w.now
	if w.gateway.call != 0 && w.gateway.head.worker == i {
		w.fail(w.gateway.call, Unknown)
	}
}

// replace gives a dead worker an empty disk.
func (w *world) replace(i int) {
	w.note("disk of worker %d is replaced", i)
	w.deaths.worker(w, i, true)
	w.workers[i].journal++
	w.workers[i].rows = map[int]*row{}
}

func (w *world) start(i int) {
	if w.workers[i].up {
		return
	}
	w.note("worker %d starts", i)
	w.workers[i].up = true
	for _, r := range w.workers[i].rows {
		if r.progress < 2 {
			*r = row{progress: 2, outcome: Interrupted}
		}
	}
}

// tooLong is how many steps a worker may be away.
const tooLong = 15

// lost says whether a worker has been away for so long that the other is to have
// its work.
func (w *world) lost(i int) bool {
	return !w.workers[i].up && w.workers[1-i].up && w.now-w.workers[i].away > tooLong
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

// cancel lets the person ask to stop the head.
func (w *world) cancel() {
	if t := w.store.head(); t != nil && t.stored != NewChat && w.gateway.up {
		w.note("cancel of turn %d", t.id)
		t.cancel = true
		w.input(Input{Kind: Cancel})
	}
}

// write lets the person write one more message.
func (w *world) write() {
	if len(w.telegram.written) < 6 {
		w.telegram.written = append(w.telegram.written, Queued)
	}
}

// decide lets the person decide about the i-th turn, if it waits for that.
func (w *world) decide(i int) {
	if i >= len(w.store.turns) {
		return
	}
	t := w.store.turns[i]
	if t.interrupted == 0 || t.settled == None {
		return
	}
	drop := w.IntN(3) == 0
	w.note("decision about turn %d, drop: %v", t.id, drop)
	t.interrupted, t.freed = 0, true
	if !drop {
		w.store.again(t, true)
	}
	w.input(Input{Kind: Wake})
}

// poll fetches updates, or commits those that were fetched. Only what is committed
// is confirmed.
func (w *world) poll() {
	g := &w.gateway
	if !g.up {
		return
	}
	if g.fetched == nil {
		w.telegram.confirmed = w.store.cursor
		first := w.store.cursor
		if !w.calm && w.IntN(4) == 0 {
			first = max(0, first-1) // it comes twice
		}
		for id := first; id < len(w.telegram.written); id++ {
			g.fetched = append(g.fetched, id)
		}
		return
	}
	fetched := g.fetched
	how := w.transaction(func() {
		for _, id := range fetched {
			if id >= w.store.cursor { // else it is known
				w.store.add(id, w.telegram.written[id])
				w.store.cursor = id + 1
			}
		}
	})
	if w.gateway.fetched = nil; how == committed {
		w.input(Input{Kind: Wake})
	}
}

// deliver makes one step with the oldest message to the person.
func (w *world) deliver() {
	g, p := &w.gateway, w.store.unsent()
	if g.posting != nil {
		p = g.posting
	}
	switch {
	case !g.up || p == nil:
	case p.sending && p.by != g.starts && g.posting == nil:
		// A process before this one may have sent it.
		w.transaction(func() { p.sending, p.by = false, g.starts; p.doubts++ })
	case g.posting == nil:
		if w.transaction(func() { p.sending, p.by = true, g.starts }) == committed {
			g.posting = p
		}
	case !g.called:
		if p.sends++; p.sends == 1 {
			w.telegram.heard = append(w.telegram.heard, p)
		}
		if g.called = true; !w.calm && w.IntN(8) == 0 { // the answer is lost
			if w.transaction(func() { p.sending = false; p.doubts++ }) == committed {
				g.posting, g.called = nil, false
			}
		}
	default:
		if w.transaction(func() { p.sent = true }) == committed {
			g.posting, g.called = nil, false
		}
	}
}
