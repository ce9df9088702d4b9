package store

import (
	"context"
	"fmt"
)

// What a person can decide about an interrupted turn.
const (
	Resume = "resume" // go on in the same thread
	Again  = "again"  // run the prompt again from its beginning
	Drop   = "drop"   // leave it
)

// Park ends the time for which the interrupted turns of a session hold its lane
// back. They wait for a decision as before.
func (s *Store) Park(ctx context.Context, sessionID string) error {
	return s.write(ctx, func(q *tx) error { return q.park(sessionID) })
}

func (q *tx) park(sessionID string) error {
	return q.exec(`UPDATE turns SET parked_at = $3 WHERE bot_id = $1 AND session_id = $2
		AND state = 'INTERRUPTED' AND resolution = '' AND parked_at = 0`, q.bot, sessionID, q.now)
}

// heldSession is a session, and when the newest turn was interrupted that holds
// its lane back, in milliseconds; 0: none does.
func (q *tx) heldSession(id string) (sess Session, since int64, err error) {
	sess, _, err = found(q, func(row scanner) (s Session, err error) { return s, scanSession(row, &s, &since) },
		heldQuery+`WHERE s.bot_id = $1 AND s.session_id = $2`, q.bot, id)
	sess.ID = id
	return sess, since, err
}

// chosen says whether a person decided that an update is run: that is never held
// back.
func (q *tx) chosen(key Key) (bool, error) {
	_, ok, err := found(q, readString, `SELECT turn_id FROM turns WHERE bot_id = $1 AND update_id = $2 AND generation = $3
		AND (resolution = 'resume' OR resolution = 'again') LIMIT 1`, q.bot, key.UpdateID, key.Generation)
	return ok, err
}

// Decision is what somebody decides about an interrupted turn.
type Decision struct {
	Choice string // Resume, Again or Drop
	// Prompt is what the next attempt says to Codex; empty: the same as before.
	Prompt string
	// Shown is what the question says from then on, without its buttons; empty: it
	// stays as it is.
	Shown string
}

// Resolve decides about an interrupted turn; an earlier decision stays. To
// resume or to run again queues the next attempt, at its update's old place in
// the lane.
func (s *Store) Resolve(ctx context.Context, turnID string, d Decision) (Resolved, error) {
	choice := d.Choice
	if choice != Resume && choice != Again && choice != Drop {
		return Resolved{}, fmt.Errorf("the choice must be %s, %s or %s", Resume, Again, Drop)
	}
	var r Resolved
	err := s.write(ctx, func(q *tx) error {
		t, err := q.turn(turnID)
		if err != nil {
			return err
		}
		if t.Resolution != "" {
			r, err = q.resolved(t)
			return err
		}
		if t.State != Interrupted {
			return t.refuse("INTERRUPTED")
		}
		r = Resolved{Choice: choice, Applied: true}
		if err := q.decided(t, d.Shown); err != nil {
			return err
		}
		if choice == Drop {
			return q.drop(t)
		}
		if err := q.exec(`UPDATE turns SET resolution = $2, resolved_at = $3 WHERE turn_id = $1`, t.ID, choice, q.now); err != nil {
			return err
		}
		next, err := q.again(t, d.Prompt)
		r.Next = &next
		return err
	})
	return r, err
}

// resolved is the decision that was made about a turn.
func (q *tx) resolved(t Turn) (Resolved, error) {
	r := Resolved{Choice: t.Resolution}
	if t.Resolution == Drop {
		return r, nil
	}
	next, err := q.turn(TurnID(q.bot, t.Key, t.Attempt+1))
	r.Next = &next
	return r, err
}

func (q *tx) drop(t Turn) error {
	if err := q.exec(`UPDATE turns SET resolution = $2, resolved_at = $3, outcome = 'dropped' WHERE turn_id = $1`,
		t.ID, Drop, q.now); err != nil {
		return err
	}
	if err := q.setUpdate(t.Key, t.Kind, Dropped); err != nil {
		return err
	}
	if err := q.exec(`UPDATE updates SET reason = 'dropped by decision' WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
		q.bot, t.Key.UpdateID, t.Key.Generation); err != nil {
		return err
	}
	return q.count(0, 0, 1)
}
