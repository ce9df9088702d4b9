package store

import (
	"context"
	"strconv"
)

// Why a session was taken from its worker.
const (
	Moved = "moved" // an operator has moved it, thread and all
	Lost  = "lost"  // the worker did not come back in time; the thread was given up
	Gone  = "gone"  // the worker came back as another one; the thread was given up
)

// Move names a session, where it is now, and the worker that has its thread and its
// workspace by now.
type Move struct {
	SessionID, From, To string
	ToJournal           string // the journal of To
	ThreadID            string // that was moved
	LastTurnID          string // the last turn in what was moved; empty: not compared
}

// MoveSession lets another worker have a session, and says whether it did: a
// session that is there already stays. Refused (*StateError) are a session of
// another worker or thread, one whose turn is at its worker, and one that has run
// there, or may have, since it was taken.
func (s *Store) MoveSession(ctx context.Context, m Move) (applied bool, err error) {
	err = s.write(ctx, func(q *tx) error {
		applied = false
		sess, err := q.session(m.SessionID)
		if err != nil {
			return err
		}
		what := "session " + strconv.Quote(m.SessionID)
		switch {
		case sess.ThreadID != m.ThreadID || m.ThreadID == "":
			return &StateError{What: what, Want: "in thread " + strconv.Quote(m.ThreadID), Have: "in thread " + strconv.Quote(sess.ThreadID)}
		case sess.WorkerID == m.To:
			return nil
		case sess.WorkerID != m.From:
			return &StateError{What: what, Want: "with worker " + strconv.Quote(m.From), Have: "with worker " + strconv.Quote(sess.WorkerID)}
		}
		if err := q.movable(what, m); err != nil {
			return err
		}
		applied = true
		if err := q.noteMove(sess, m.To, Moved); err != nil {
			return err
		}
		return q.pin(m.SessionID, m.To, m.ToJournal)
	})
	return applied && err == nil, err
}

// movable refuses a session that runs, or whose last turn is not the one that was
// taken with it. Where none has run since the session came to its worker, nothing
// is missing.
func (q *tx) movable(what string, m Move) error {
	running, ok, err := q.running(m.SessionID)
	if err != nil {
		return err
	}
	if ok {
		return &StateError{What: what, Want: "idle", Have: "running turn " + running.ID}
	}
	last, err := readString(q.row(`SELECT last_turn_id FROM sessions WHERE bot_id = $1 AND session_id = $2`, q.bot, m.SessionID))
	if err == nil && last != "" && m.LastTurnID != "" && last != m.LastTurnID {
		err = &StateError{What: what, Want: "as it was exported; export it again", Have: "at turn " + last}
	}
	return err
}

// noteMove notes that a session is taken from its worker; to is empty where the
// next worker that has room gets it.
func (q *tx) noteMove(sess Session, to, why string) error {
	return q.exec(`INSERT INTO moves (bot_id, move_id, session_id, from_worker, to_worker, thread_id, reason, moved_at)
		SELECT $1, (SELECT coalesce(max(move_id), 0) + 1 FROM moves WHERE bot_id = $1), $2, $3, $4, $5, $6, $7`,
		q.bot, sess.ID, sess.WorkerID, to, sess.ThreadID, why, q.now)
}

// giveUp frees a session of its worker, and of the thread that only this one has.
func (q *tx) giveUp(sess Session, why string) error {
	if sess.WorkerID != "" {
		if err := q.noteMove(sess, "", why); err != nil {
			return err
		}
	}
	return q.forget(sess.ID)
}

// latestMoves adds to a page of sessions how each was last taken from a worker.
func (q *tx) latestMoves(page []Session) error {
	if len(page) == 0 {
		return nil
	}
	at := map[string]*Session{}
	for i := range page {
		at[page[i].ID] = &page[i]
	}
	_, err := collect(q, func(row scanner) (none struct{}, err error) {
		var id, from, why string
		var moved int64
		if err = row.Scan(&id, &from, &why, &moved); err != nil {
			return none, err
		}
		if s := at[id]; s != nil {
			s.MovedFrom, s.MovedReason, s.MovedAt = from, why, fromMillis(moved)
		}
		return none, nil
	}, `SELECT m.session_id, m.from_worker, m.reason, m.moved_at FROM moves m
		WHERE m.bot_id = $1 AND m.session_id >= $2 AND m.session_id <= $3 AND m.move_id =
			(SELECT max(n.move_id) FROM moves n WHERE n.bot_id = m.bot_id AND n.session_id = m.session_id)`,
		q.bot, page[0].ID, page[len(page)-1].ID)
	return err
}
