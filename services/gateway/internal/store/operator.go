package store

import (
	"context"
	"fmt"
	"time"
)

// Stats counts what waits.
func (s *Store) Stats(ctx context.Context) (st Stats, err error) {
	err = s.read(ctx, func(q *tx) error {
		if st.Cursor, err = q.cursor(s.bot.Fingerprint); err != nil {
			return err
		}
		err := q.row(`SELECT
				(SELECT count(*) FROM updates WHERE bot_id = $1 AND work = 'lane'),
				(SELECT count(*) FROM turns WHERE bot_id = $1 AND ended_at = 0 AND state <> 'QUEUED'),
				(SELECT count(*) FROM turns WHERE bot_id = $1 AND state = 'INTERRUPTED' AND resolution = ''),
				(SELECT count(*) FROM outbox WHERE bot_id = $1 AND done_at = 0)`, q.bot).
			Scan(&st.Queued, &st.Running, &st.Interrupted, &st.Outbox)
		st.Queued -= st.Running // what runs is work of its lane until it ends
		return err
	})
	return st, err
}

// Trace is the way of an update; generation 0 means the newest that knows its
// id. An unknown one is a *StateError.
func (s *Store) Trace(ctx context.Context, updateID, generation int64) (tr Trace, err error) {
	err = s.read(ctx, func(q *tx) error {
		u, ok, err := found(q, readUpdate, `SELECT `+updateColumns+` FROM updates
			WHERE bot_id = $1 AND update_id = $2 AND ($3 = 0 OR generation = $3) ORDER BY generation DESC LIMIT 1`,
			q.bot, updateID, generation)
		if err != nil {
			return err
		}
		if !ok {
			return &StateError{What: fmt.Sprintf("update %d", updateID)}
		}
		tr.Update = u
		if tr.Turns, err = collect(q, readTurn, turnQuery+`WHERE t.bot_id = $1 AND t.update_id = $2 AND t.generation = $3
			ORDER BY t.attempt`, q.bot, u.UpdateID, u.Generation); err != nil {
			return err
		}
		if n := len(tr.Turns); n > 0 && workOf(u.Kind, u.State) == workLane {
			tr.Update.State = tr.Turns[n-1].State
		}
		tr.Outbox, err = collect(q, readTrace, `SELECT `+traceColumns+` FROM outbox
			WHERE bot_id = $1 AND update_id = $2 AND generation = $3 ORDER BY outbox_id`, q.bot, u.UpdateID, u.Generation)
		return err
	})
	return tr, err
}

// What is kept of settled updates.
const (
	// KeepFor is how long. Telegram redelivers for at most a day, so that what
	// is older is not needed to know a duplicate.
	KeepFor = 30 * 24 * time.Hour
	// pruneBatch bounds one transaction, so that no lane waits for it.
	pruneBatch = 500
)

// Prune removes updates that were settled longer ago than KeepFor, with their
// turns and messages, and returns how many. A turn that waits for a decision is
// kept, however old.
func (s *Store) Prune(ctx context.Context, now time.Time) (removed int, err error) {
	for {
		n := 0
		err := s.write(ctx, func(q *tx) error {
			keys, err := collect(q, readKey, `SELECT generation, update_id FROM updates
				WHERE bot_id = $1 AND settled_at > 0 AND settled_at < $2 AND state <> 'INTERRUPTED' ORDER BY settled_at LIMIT $3`,
				q.bot, millis(now.Add(-KeepFor)), pruneBatch)
			if err != nil {
				return err
			}
			for _, key := range keys {
				for _, table := range []string{"outbox", "turns", "updates"} {
					if err := q.exec(`DELETE FROM `+table+` WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
						q.bot, key.UpdateID, key.Generation); err != nil {
						return err
					}
				}
			}
			n = len(keys)
			return nil
		})
		removed += n
		if err != nil || n < pruneBatch {
			return removed, err
		}
	}
}

func readKey(row scanner) (k Key, err error) { return k, row.Scan(&k.Generation, &k.UpdateID) }
