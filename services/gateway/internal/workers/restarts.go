package workers

// Process is a process of a worker, the newest that was met.
type Process struct {
	WorkerID  string
	ProcessID string // random for each
	// Starts is how often the worker was started with its disk until then; 0: it
	// does not count.
	Starts int
	// Restarts is how often it was, since it was first met.
	Restarts int
}

// next is what is known once a process was met. A worker that was never met was
// not restarted. One that counts its starts is believed, so that those are counted
// which happened while nobody looked; a count that went back began anew.
func (p Process) next(now Process) (known Process, changed bool) {
	switch {
	case p.WorkerID == "":
		return now, true
	case p.ProcessID == now.ProcessID:
		return p, false
	case p.Starts > 0 && now.Starts > p.Starts:
		now.Restarts = p.Restarts + now.Starts - p.Starts
	default:
		now.Restarts = p.Restarts + 1
	}
	return now, true
}

// meet notes the process that speaks at an address; the caller holds mu. A worker
// at two addresses, or at a new one, is still one worker.
func (d *Directory) meet(now Process) (changed bool) {
	d.met[now.WorkerID], changed = d.met[now.WorkerID].next(now)
	delete(d.away, now.WorkerID)
	return changed
}

// Restarts is how often workers' processes were restarted, of all workers that
// were ever met.
func (d *Directory) Restarts() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.met {
		n += p.Restarts
	}
	return n
}
