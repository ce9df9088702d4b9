package store

import (
	"context"
	"fmt"
)

// Commands are the updates that wait to be handled at once, oldest first.
func (s *Store) Commands(ctx context.Context) (updates []Update, err error) {
	err = s.read(ctx, func(q *tx) error {
		updates, err = collect(q, readUpdate, `SELECT `+updateColumns+` FROM updates WHERE bot_id = $1 AND work = 'command'
			ORDER BY generation, update_id`, q.bot)
		return err
	})
	return updates, err
}

// CancelTarget is the turn that a command to cancel means, as its newest attempt:
// that of the oldest prompt before the command, in its session, that had not
// ended when the command was received. The answer stays the same however much
// later it is asked.
func (s *Store) CancelTarget(ctx context.Context, command Key) (t Turn, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error {
		c, known, err := q.update(command)
		if err != nil {
			return err
		}
		if !known {
			return &StateError{What: command.String()}
		}
		open, isOpen, err := found(q, readUpdate, `SELECT `+updateColumns+` FROM updates
			WHERE bot_id = $1 AND session_id = $2 AND work = 'lane' AND kind = 'prompt' AND (generation, update_id) < ($3, $4)
			ORDER BY generation, update_id LIMIT 1`, q.bot, c.SessionID, command.Generation, command.UpdateID)
		if err != nil {
			return err
		}
		ended, hasEnded, err := found(q, readTurn, turnQuery+`WHERE t.bot_id = $1 AND t.session_id = $2 AND t.ended_at > $3
			AND (t.generation, t.update_id) < ($4, $5) AND NOT EXISTS (SELECT 1 FROM turns n WHERE n.bot_id = t.bot_id
				AND n.update_id = t.update_id AND n.generation = t.generation AND n.attempt > t.attempt)
			ORDER BY t.generation, t.update_id LIMIT 1`, q.bot, c.SessionID, millis(c.ReceivedAt), command.Generation, command.UpdateID)
		if err != nil || !isOpen || hasEnded && ended.Key.before(open.Key) {
			t, ok = ended, hasEnded
			return err
		}
		if t, ok, err = q.newestTurn(open.Key); err == nil && !ok {
			t, ok = q.firstTurn(open), true
		}
		return err
	})
	return t, ok, err
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
		switch {
		case !ok:
			return &StateError{What: key.String()}
		case u.Kind == KindPrompt || u.Kind == "":
			return &StateError{What: key.String(), Want: "a command", Have: fmt.Sprintf("of kind %q", u.Kind)}
		case u.State == Finished || u.State == Delivered:
			return nil
		case u.State != Queued:
			return &StateError{What: key.String(), Want: "QUEUED", Have: string(u.State)}
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
