package store

import (
	"context"
	"fmt"
)

// Stats counts what waits.
func (s *Store) Stats(ctx context.Context) (st Stats, err error) {
	err = s.read(ctx, func(q *tx) error { st, err = q.stats(s.bot.Fingerprint); return err })
	return st, err
}

func (q *tx) stats(fingerprint string) (st Stats, err error) {
	if st.Cursor, err = q.cursor(fingerprint); err != nil {
		return st, err
	}
	err = q.row(`SELECT
			(SELECT count(*) FROM updates WHERE bot_id = $1 AND work = 'lane'),
			(SELECT count(*) FROM turns WHERE bot_id = $1 AND ended_at = 0 AND state <> 'QUEUED'),
			(SELECT count(*) FROM turns WHERE bot_id = $1 AND state = 'INTERRUPTED' AND resolution = ''),
			(SELECT count(*) FROM outbox WHERE bot_id = $1 AND done_at = 0)`, q.bot).
		Scan(&st.Queued, &st.Running, &st.Interrupted, &st.Outbox)
	st.Queued -= st.Running // what runs is work of its lane until it ends
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
