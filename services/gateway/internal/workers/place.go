package workers

// Place is room for one turn at a worker. It counts against the worker's slots
// until it is released, since the worker's own count arrives later than the next
// turn to be placed.
type Place struct {
	Worker    Worker
	directory *Directory
}

// Take finds room for a new turn: at the worker that holds the session's thread,
// or with pinned empty at the one with the most free slots. False: none now.
func (d *Directory) Take(pinned string) (*Place, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var best *entry
	for _, e := range d.entries {
		switch {
		case e.worker.ID == "" || !e.worker.Reachable || e.worker.Draining:
		case pinned != "" && e.worker.ID != pinned:
		case d.free(e) <= 0:
		case best == nil || d.free(e) > d.free(best) ||
			// Among equals the address decides, so that placement is repeatable.
			d.free(e) == d.free(best) && e.worker.Address < best.worker.Address:
			best = e
		}
	}
	if best == nil {
		return nil, false
	}
	d.taken[best.worker.ID]++
	return &Place{Worker: best.worker, directory: d}, true
}

// Hold counts a turn that is already at a worker, whatever room it has.
func (d *Directory) Hold(workerID string) *Place {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken[workerID]++
	return &Place{Worker: Worker{ID: workerID}, directory: d}
}

// free is how many more turns a worker takes. Its count may lag behind ours, and
// ours does not know of other gateways: the larger one holds.
func (d *Directory) free(e *entry) int {
	return e.worker.SlotsTotal - max(e.worker.SlotsUsed, d.taken[e.worker.ID])
}

// Release gives the room back. It may be called more than once, and on nil.
func (p *Place) Release() {
	if p == nil || p.directory == nil {
		return
	}
	d := p.directory
	p.directory = nil
	d.update(func() {
		if d.taken[p.Worker.ID]--; d.taken[p.Worker.ID] <= 0 {
			delete(d.taken, p.Worker.ID)
		}
	})
}

// Missed says whether it was tried and cannot be reached: the worker that is
// pinned, or with pinned empty any. Before an address was tried, it may be there.
func (d *Directory) Missed(pinned string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	untried, met := false, false
	for _, e := range d.entries {
		switch mine := pinned == "" || e.worker.ID == pinned; {
		case mine && e.worker.Reachable:
			return false
		case mine && pinned != "":
			met = true // its address is known, and does not answer
		case !e.worker.Tried:
			untried = true
		}
	}
	return met || !untried
}

// Takes says whether some worker takes new turns, whatever room it has: the one
// that is pinned, or any when pinned is empty.
func (d *Directory) Takes(pinned string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if e.worker.Reachable && !e.worker.Draining && (pinned == "" || e.worker.ID == pinned) {
			return true
		}
	}
	return false
}
