package store

import "context"

// KnownWorker is a worker that was met, and what is known of its restarts.
type KnownWorker struct {
	WorkerID  string
	ProcessID string // of the newest process that was met
	Starts    int    // the worker's own count of them; 0: it does not count
	Restarts  int    // since it was first met
}

// KnownWorkers are all workers that were ever met.
func (s *Store) KnownWorkers(ctx context.Context) (all []KnownWorker, err error) {
	err = s.read(ctx, func(q *tx) error {
		all, err = collect(q, func(row scanner) (w KnownWorker, err error) {
			return w, row.Scan(&w.WorkerID, &w.ProcessID, &w.Starts, &w.Restarts)
		}, `SELECT worker_id, process_id, start_count, restart_count FROM workers WHERE bot_id = $1 ORDER BY worker_id`, q.bot)
		return err
	})
	return all, err
}

// MeetWorker notes a new process of a worker.
func (s *Store) MeetWorker(ctx context.Context, w KnownWorker) error {
	return s.write(ctx, func(q *tx) error {
		return q.exec(`INSERT INTO workers (bot_id, worker_id, process_id, start_count, restart_count, met_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (bot_id, worker_id) DO UPDATE SET process_id = excluded.process_id,
			start_count = excluded.start_count, restart_count = excluded.restart_count, met_at = excluded.met_at`,
			q.bot, clean(w.WorkerID), clean(w.ProcessID), w.Starts, w.Restarts, q.now)
	})
}
