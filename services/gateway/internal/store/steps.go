package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
)

// notResumable is the error code of an attempt that Restart has ended.
const notResumable = "thread-not-resumable"

func (t Turn) refuse(want string) error {
	return &StateError{What: "turn " + t.ID, Want: want, Have: string(t.State)}
}

// Assign chooses a worker for the head of a lane, and the directory it works in,
// and pins its session to that worker, before RunTurn is called. A session that
// another worker holds is refused, and so is a turn that another one of its
// session is before.
func (s *Store) Assign(ctx context.Context, turnID, workerID, journalID, workingDir string) error {
	return s.write(ctx, func(q *tx) error {
		t, held, ok, err := q.assignable(turnID, workerID)
		if err != nil {
			return err
		}
		if ok && t.ThreadID != "" {
			var fresh bool
			if fresh, err = q.fresh(t, t.ThreadID); err != nil {
				return err
			}
			if fresh {
				t.ThreadID = ""
			}
		}
		if ok {
			t.State, t.WorkerID, t.JournalID, t.WorkingDir = Assigned, workerID, journalID, workingDir
			ok, err = q.changed(insertTurn+` ON CONFLICT (turn_id) DO UPDATE SET state = excluded.state, thread_id = excluded.thread_id,
				worker_id = excluded.worker_id, journal_id = excluded.journal_id, working_dir = excluded.working_dir,
				pinned = excluded.pinned, assigned_at = excluded.assigned_at WHERE turns.state = 'QUEUED'`,
				q.turnValues(t, "", !held)...)
		}
		if err != nil {
			return err
		}
		if !ok {
			return q.refuseAssign(turnID, workerID)
		}
		if held {
			return nil
		}
		return q.pin(t.SessionID, workerID, journalID)
	})
}

// assignable asks all that Assign depends on at once: a waiting prompt, no other
// turn of its session that runs or comes first, a session that no other worker
// holds. held: this worker holds it already. Where the answer is no,
// refuseAssign knows why.
func (q *tx) assignable(turnID, workerID string) (t Turn, held, ok bool, err error) {
	key, attempt, named := q.parseTurnID(turnID)
	if !named {
		return t, false, false, nil
	}
	t = Turn{ID: turnID, Key: key, Attempt: attempt}
	err = q.row(`SELECT s.session_id, s.thread_id, s.worker_id <> ''
		FROM updates u JOIN sessions s ON s.bot_id = u.bot_id AND s.session_id = u.session_id
		WHERE u.bot_id = $1 AND u.update_id = $2 AND u.generation = $3 AND u.state = 'QUEUED' AND u.kind = 'prompt'
			AND (s.worker_id = '' OR s.worker_id = $4)
			AND ($5 = 1 OR EXISTS (SELECT 1 FROM turns t WHERE t.turn_id = $6))
			AND NOT EXISTS (SELECT 1 FROM turns r WHERE r.bot_id = u.bot_id AND r.session_id = u.session_id AND r.ended_at = 0
				AND r.state <> 'QUEUED')
			AND NOT EXISTS (SELECT 1 FROM updates o WHERE o.bot_id = u.bot_id AND o.session_id = u.session_id AND o.work = 'lane'
				AND o.generation < u.generation)
			AND NOT EXISTS (SELECT 1 FROM updates o WHERE o.bot_id = u.bot_id AND o.session_id = u.session_id AND o.work = 'lane'
				AND o.generation = u.generation AND o.update_id < u.update_id)`,
		q.bot, key.UpdateID, key.Generation, workerID, attempt, turnID).Scan(&t.SessionID, &t.ThreadID, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return t, false, false, nil
	}
	return t, held, err == nil, err
}

// fresh says whether an attempt begins a new thread though its session has one:
// the attempt before it could not resume that very thread.
func (q *tx) fresh(t Turn, threadID string) (bool, error) {
	if t.Attempt == 1 || threadID == "" {
		return false, nil
	}
	_, ok, err := found(q, readString, `SELECT turn_id FROM turns WHERE turn_id = $1 AND error_code = $2 AND thread_id = $3`,
		TurnID(q.bot, t.Key, t.Attempt-1), notResumable, threadID)
	return ok, err
}

// refuseAssign says why a turn cannot be assigned; nil: it was already.
func (q *tx) refuseAssign(turnID, workerID string) error {
	t, err := q.turn(turnID)
	if err != nil || t.State == Assigned && t.WorkerID == workerID {
		return err
	}
	if t.State != Queued || t.Kind != KindPrompt {
		return t.refuse("a waiting prompt")
	}
	if err := q.mayRun(t); err != nil {
		return err
	}
	sess, err := q.session(t.SessionID)
	if err != nil {
		return err
	}
	return &StateError{What: "session " + sess.ID, Want: "free", Have: "held by worker " + strconv.Quote(sess.WorkerID)}
}

// mayRun checks that no other turn of the session runs or comes first.
func (q *tx) mayRun(t Turn) error {
	head, ok, err := q.head(t.SessionID)
	if err != nil || !ok || head.ID == t.ID {
		return err
	}
	return &StateError{What: "turn " + t.ID, Want: "first in its lane", Have: "behind turn " + head.ID}
}

// Unassign takes an assignment back when the worker has journaled nothing. A
// session that the assignment had pinned is free again.
func (s *Store) Unassign(ctx context.Context, turnID string) error {
	return s.write(ctx, func(q *tx) error {
		t, err := q.turn(turnID)
		if err != nil || t.State == Queued {
			return err
		}
		if t.State != Assigned {
			return t.refuse("ASSIGNED")
		}
		pinned, err := readInt64(q.row(`SELECT pinned FROM turns WHERE turn_id = $1`, turnID))
		if err != nil {
			return err
		}
		if err := q.exec(`UPDATE turns SET state = 'QUEUED', worker_id = '', journal_id = '', thread_id = '', pinned = 0,
			working_dir = '', assigned_at = 0 WHERE turn_id = $1`, turnID); err != nil || pinned == 0 {
			return err
		}
		return q.pin(t.SessionID, "", "")
	})
}

// Unpin frees the session of a waiting turn of its worker, which is Gone or Lost,
// together with the messages that say so. A session that was moved to another
// worker meanwhile stays as it is, and that worker is returned: empty is free.
func (s *Store) Unpin(ctx context.Context, turnID, workerID, why string, messages []Message) (holder string, err error) {
	err = s.write(ctx, func(q *tx) error {
		holder = ""
		t, err := q.turn(turnID)
		if err != nil {
			return err
		}
		if t.State != Queued {
			return t.refuse("QUEUED")
		}
		sess, err := q.session(t.SessionID)
		if err != nil || sess.WorkerID != workerID {
			holder = sess.WorkerID
			return err
		}
		if err := q.giveUp(sess, why); err != nil {
			return err
		}
		return q.post(t.Key, t.ID, messages)
	})
	return holder, err
}

// Accept notes that the worker has journaled the turn, in which journal.
func (s *Store) Accept(ctx context.Context, turnID, journalID string) error {
	return s.write(ctx, func(q *tx) error {
		t, err := q.step(turnID)
		if err != nil || t.State == Accepted {
			return err
		}
		if t.State != Assigned {
			return t.refuse("ASSIGNED")
		}
		if err := q.exec(`UPDATE turns SET state = 'ACCEPTED', journal_id = $2, accepted_at = $3 WHERE turn_id = $1`,
			turnID, journalID, q.now); err != nil {
			return err
		}
		return q.pin(t.SessionID, t.WorkerID, journalID)
	})
}

// SetThread notes the Codex thread in which a turn runs, for the turn and for
// its session. A session that had another thread until now gives it up; only then
// are there messages to say so.
func (s *Store) SetThread(ctx context.Context, turnID, threadID string, messages ...Message) error {
	return s.write(ctx, func(q *tx) error {
		t, err := q.step(turnID)
		if err != nil {
			return err
		}
		if t.State != Assigned && t.State != Accepted {
			return t.refuse("running")
		}
		sess, err := q.session(t.SessionID)
		if err != nil {
			return err
		}
		if err := q.exec(`UPDATE turns SET thread_id = $2 WHERE turn_id = $1`, turnID, threadID); err != nil {
			return err
		}
		if sess.ThreadID != "" && sess.ThreadID != threadID {
			if err := q.post(t.Key, turnID, messages); err != nil {
				return err
			}
		}
		return q.setThread(sess, threadID)
	})
}

// Finish stores how a turn ended, together with the messages that say so, and
// returns what its lane goes on with. Once they are sent, or at once when there
// are none, the update is delivered. Finishing again with the same outcome changes
// nothing.
func (s *Store) Finish(ctx context.Context, turnID string, o Outcome, messages []Message) (next Lane, err error) {
	err = s.write(ctx, func(q *tx) error {
		t, err := q.step(turnID)
		if err != nil {
			return err
		}
		if t.State != Finished || t.Outcome != o.Name || t.ErrorCode != o.ErrorCode {
			if err := q.finish(t, o, messages); err != nil {
				return err
			}
		}
		next, err = q.lane(t.SessionID)
		return err
	})
	return next, err
}

func (q *tx) finish(t Turn, o Outcome, messages []Message) error {
	if t.State != Queued && t.State != Assigned && t.State != Accepted {
		return t.refuse("open")
	}
	if err := q.end(t, Finished, o); err != nil {
		return err
	}
	if err := q.setUpdate(t.Key, t.Kind, Finished); err != nil {
		return err
	}
	if len(messages) > 0 {
		return q.post(t.Key, t.ID, messages)
	}
	_, _, err := q.deliver(t.Key)
	return err
}

// end writes how a turn ended.
func (q *tx) end(t Turn, state State, o Outcome) error {
	sess, err := q.session(t.SessionID)
	if err != nil {
		return err
	}
	var used Usage
	if o.Usage != nil {
		used = o.Usage.since(sess.Usage)
		sess.Usage = *o.Usage
	}
	if err := q.setUsage(t.SessionID, sess.Usage); err != nil {
		return err
	}
	if t.State == Accepted || state == Interrupted {
		if err := q.ranLast(t); err != nil {
			return err
		}
	}
	return q.exec(`UPDATE turns SET state = $2, outcome = $3, error_code = $4, error_message = $5, input_tokens = $6,
		cached_input_tokens = $7, cache_write_input_tokens = $8, output_tokens = $9, reasoning_output_tokens = $10, ended_at = $11,
			acknowledged_at = $12 WHERE turn_id = $1`, t.ID, state, o.Name, o.ErrorCode, clean(o.ErrorMessage), used.InputTokens, used.CachedInputTokens,
		used.CacheWriteInputTokens, used.OutputTokens, used.ReasoningOutputTokens, q.now, q.now*flag(o.Absent))
}

// Interrupt stores that a turn may have partly run and that its end is not
// known. unpin says that the worker's disk is gone, and the session's thread
// with it.
func (s *Store) Interrupt(ctx context.Context, turnID string, unpin bool, o Outcome, messages []Message) error {
	return s.write(ctx, func(q *tx) error {
		t, err := q.turn(turnID)
		if err != nil || t.State == Interrupted {
			return err
		}
		if t.State != Assigned && t.State != Accepted {
			return t.refuse("running")
		}
		if err := q.end(t, Interrupted, o); err != nil {
			return err
		}
		if err := q.setUpdate(t.Key, t.Kind, Interrupted); err != nil {
			return err
		}
		if unpin {
			sess, err := q.session(t.SessionID)
			if err != nil {
				return err
			}
			if err := q.giveUp(sess, Gone); err != nil {
				return err
			}
		}
		return q.post(t.Key, t.ID, messages)
	})
}

// Restart ends an attempt whose Codex thread could not be resumed, of which
// nothing was run, and queues the next one, which begins a new thread. The session
// keeps the thread it has until Codex has really opened another: what kept this
// one from being resumed may be over by then.
func (s *Store) Restart(ctx context.Context, turnID string) (next Turn, err error) {
	err = s.write(ctx, func(q *tx) error {
		t, err := q.turn(turnID)
		if err != nil {
			return err
		}
		if t.State == Finished && t.ErrorCode == notResumable {
			next, err = q.turn(TurnID(q.bot, t.Key, t.Attempt+1))
			return err
		}
		if t.State != Assigned && t.State != Accepted {
			return t.refuse("running")
		}
		if err := q.end(t, Finished, Outcome{Name: "failed", ErrorCode: notResumable}); err != nil {
			return err
		}
		own, err := readString(q.row(`SELECT prompt FROM turns WHERE turn_id = $1`, t.ID))
		if err != nil {
			return err
		}
		next, err = q.again(t, own)
		return err
	})
	return next, err
}

// again queues the next attempt of a turn. An empty prompt means the same one.
func (q *tx) again(t Turn, prompt string) (Turn, error) {
	t.Attempt++
	t.ID = TurnID(q.bot, t.Key, t.Attempt)
	if err := q.insertTurn(t, prompt); err != nil {
		return t, err
	}
	if err := q.setUpdate(t.Key, t.Kind, Queued); err != nil {
		return t, err
	}
	return q.turn(t.ID)
}
