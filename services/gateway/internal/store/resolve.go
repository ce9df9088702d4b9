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

// Resolve decides about an interrupted turn; an earlier decision stays. To
// resume or to run again queues the next attempt, at its update's old place in
// the lane. prompt is what that attempt says to Codex; empty: the same as before.
func (s *Store) Resolve(ctx context.Context, turnID, choice, prompt string) (Resolved, error) {
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
		if choice == Drop {
			return q.drop(t)
		}
		if err := q.exec(`UPDATE turns SET resolution = $2, resolved_at = $3 WHERE turn_id = $1`, t.ID, choice, q.now); err != nil {
			return err
		}
		next, err := q.again(t, prompt)
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
	return q.exec(`UPDATE updates SET reason = 'dropped by decision' WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
		q.bot, t.Key.UpdateID, t.Key.Generation)
}

// Commands are the updates that wait to be handled at once, oldest first.
func (s *Store) Commands(ctx context.Context) (updates []Update, err error) {
	err = s.read(ctx, func(q *tx) error {
		updates, err = collect(q, readUpdate, `SELECT `+updateColumns+` FROM updates WHERE bot_id = $1 AND work = 'command'
			ORDER BY generation, update_id`, q.bot)
		return err
	})
	return updates, err
}

// SettleCommand stores that a command was carried out, together with the
// messages that answer it. newThread makes the session's next turn begin a new
// thread, on any worker. Settling again changes nothing.
func (s *Store) SettleCommand(ctx context.Context, key Key, newThread bool, messages []Message) error {
	return s.write(ctx, func(q *tx) error {
		u, ok, err := q.update(key)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("update %d of generation %d", key.UpdateID, key.Generation)
		switch {
		case !ok:
			return &StateError{What: what}
		case u.Kind == KindPrompt || u.Kind == "":
			return &StateError{What: what, Want: "a command", Have: fmt.Sprintf("of kind %q", u.Kind)}
		case u.State == Finished || u.State == Delivered:
			return nil
		case u.State != Queued:
			return &StateError{What: what, Want: "QUEUED", Have: string(u.State)}
		}
		if newThread {
			if err := q.forget(u.SessionID); err != nil {
				return err
			}
		}
		if err := q.setUpdate(key, u.Kind, Finished); err != nil {
			return err
		}
		if err := q.post(key, "", messages); err != nil {
			return err
		}
		_, err = q.deliver(key)
		return err
	})
}
