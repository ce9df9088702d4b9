package workers

import "time"

// Gone says whether a worker is gone for good: every address answers, and none of
// them is this worker any more, as after the loss of its disk. Behind a name
// workers come and go, so that there nobody is known to be gone; who does not come
// back is lost.
func (d *Directory) Gone(workerID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if workerID == "" || len(d.names) > 0 || len(d.entries) == 0 {
		return false
	}
	for _, e := range d.entries {
		if !e.worker.Reachable || e.worker.ID == workerID {
			return false
		}
	}
	return true
}

// Lost says whether a worker has been away for so long that others are to have
// its work, while another one took turns all the time. Where there is none, nothing
// is gained by not waiting, and nobody is lost; where one has only just come back,
// what kept all of them away is over, and who is missing has as long to follow.
func (d *Directory) Lost(workerID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if workerID == "" || d.config.Lost == 0 || d.began.IsZero() || d.reachable(workerID) != nil {
		return false
	}
	missed := d.awaySince(workerID)
	if missed.Before(d.served) {
		missed = d.served
	}
	return !d.served.IsZero() && time.Since(missed) >= d.config.Lost
}

// noteServed notes since when there is a worker that takes turns; the caller holds
// mu.
func (d *Directory) noteServed() {
	for _, e := range d.entries {
		if e.worker.Reachable && !e.worker.Draining {
			if d.served.IsZero() {
				d.served = time.Now()
			}
			return
		}
	}
	d.served = time.Time{}
}

// awaySince is since when a worker that cannot be reached is away. One that this
// process has never met is missed from its own beginning: it was not looked for
// before.
func (d *Directory) awaySince(workerID string) time.Time {
	if since, ok := d.away[workerID]; ok {
		return since
	}
	return d.began
}

// leave notes that a worker has left an address; the caller holds mu.
func (d *Directory) leave(workerID string) {
	if d.reachable(workerID) == nil {
		d.away[workerID] = time.Now()
	}
}

// Draining says whether a worker can be reached but takes no new turns.
func (d *Directory) Draining(workerID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.reachable(workerID)
	return e != nil && e.worker.Draining
}

// Find returns what is known of a worker that can be reached now.
func (d *Directory) Find(workerID string) (Worker, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.reachable(workerID); e != nil {
		return e.worker, true
	}
	return Worker{}, false
}
