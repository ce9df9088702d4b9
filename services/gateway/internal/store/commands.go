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
// what ran in its session when the command was stored, or else the oldest prompt
// that waited. False: there was none.
func (s *Store) CancelTarget(ctx context.Context, command Key) (t Turn, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error {
		c, known, err := q.update(command)
		if err != nil {
			return err
		}
		if !known {
			return &StateError{What: command.String()}
		}
		key, _, named := q.parseTurnID(c.TurnID)
		if !named {
			return nil
		}
		u, known, err := q.update(key)
		if err != nil || !known {
			return err
		}
		ok = true
		t, err = q.turnOf(u)
		return err
	})
	return t, ok, err
}

// meant is the id of the turn that a command means if it is stored now; empty: it
// is about none, or there is none. It is chosen once, so that the command concerns
// no other turn however late, or how often, it is handled.
func (q *tx) meant(kind Kind, sessionID string) (string, error) {
	switch kind {
	case KindCancel:
		return q.toCancel(sessionID)
	case KindResolve:
		return q.toResolve(sessionID)
	}
	return "", nil
}

// toResolve is the newest interrupted turn that nobody has decided about, nor is
// about to.
func (q *tx) toResolve(sessionID string) (string, error) {
	id, _, err := found(q, readString, `SELECT t.turn_id FROM turns t WHERE t.bot_id = $1 AND t.session_id = $2
			AND t.state = 'INTERRUPTED' AND t.resolution = '' AND NOT EXISTS (SELECT 1 FROM updates c WHERE c.bot_id = t.bot_id
				AND c.session_id = t.session_id AND c.work = 'command' AND c.kind = 'resolve' AND c.turn_id = t.turn_id)
		ORDER BY t.ended_at DESC, t.generation DESC, t.update_id DESC LIMIT 1`, q.bot, sessionID)
	return id, err
}

// toCancel is the turn that runs, or else comes first.
func (q *tx) toCancel(sessionID string) (string, error) {
	t, ok, err := q.running(sessionID)
	if err != nil || ok {
		return t.ID, err
	}
	u, ok, err := found(q, readUpdate, `SELECT `+updateColumns+` FROM updates
		WHERE bot_id = $1 AND session_id = $2 AND work = 'lane' AND kind = 'prompt'
		ORDER BY generation, update_id LIMIT 1`, q.bot, sessionID)
	if err != nil || !ok {
		return "", err
	}
	t, err = q.turnOf(u)
	return t.ID, err
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
		_, _, err = q.deliver(key)
		return err
	})
}
