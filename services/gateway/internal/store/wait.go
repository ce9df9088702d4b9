package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Postpone ends an attempt of which nothing was run, because Codex could not be
// started, and queues the next one. A session that this attempt had pinned to its
// worker, and that has no thread there, is free again. Postponing again changes
// nothing.
func (s *Store) Postpone(ctx context.Context, turnID string, o Outcome) (next Turn, err error) {
	err = s.write(ctx, func(q *tx) error {
		t, err := q.turn(turnID)
		if err != nil {
			return err
		}
		if t.State == Finished && t.Outcome == o.Name && t.ErrorCode == o.ErrorCode {
			next, err = q.turn(TurnID(q.bot, t.Key, t.Attempt+1))
			return err
		}
		if t.State != Assigned && t.State != Accepted {
			return t.refuse("running")
		}
		var prompt string
		var pinned bool
		if err := q.row(`SELECT prompt, pinned FROM turns WHERE turn_id = $1`, turnID).Scan(&prompt, &pinned); err != nil {
			return err
		}
		sess, err := q.session(t.SessionID)
		if err != nil {
			return err
		}
		if err := q.end(t, Finished, o); err != nil {
			return err
		}
		if pinned && sess.ThreadID == "" {
			if err := q.pin(sess.ID, "", ""); err != nil {
				return err
			}
		}
		next, err = q.again(t, prompt)
		return err
	})
	return next, err
}

// Renew makes a wish for a new thread that came with a prompt the prompt alone:
// its session has no thread and no worker any more. Renewing again changes
// nothing.
func (s *Store) Renew(ctx context.Context, key Key) error {
	return s.write(ctx, func(q *tx) error {
		u, ok, err := q.update(key)
		switch {
		case err != nil || ok && u.Kind == KindPrompt:
			return err
		case !ok:
			return &StateError{What: key.String()}
		case u.Kind != KindNew || u.State != Queued || u.Text == "":
			return &StateError{What: key.String(), Want: "a waiting /new with a prompt", Have: fmt.Sprintf("%s of kind %q", u.State, u.Kind)}
		}
		if err := q.forget(u.SessionID); err != nil {
			return err
		}
		return q.exec(`UPDATE updates SET kind = $4 WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
			q.bot, key.UpdateID, key.Generation, KindPrompt)
	})
}

// Tell posts a notice, once, for what waits in the lane of a session: as a reply
// to the newest update that no notice was posted for yet. False: there was none.
// Nothing is settled by it.
func (s *Store) Tell(ctx context.Context, sessionID, notice string) (told bool, err error) {
	err = s.write(ctx, func(q *tx) error {
		type asked struct {
			Key
			message int64
		}
		waiting, err := collect(q, func(row scanner) (a asked, err error) {
			return a, row.Scan(&a.Generation, &a.UpdateID, &a.message)
		}, `UPDATE updates SET told_at = $3 WHERE bot_id = $1 AND session_id = $2 AND work = 'lane' AND told_at = 0
			RETURNING generation, update_id, message_id`, q.bot, sessionID, q.now)
		if told = len(waiting) > 0; err != nil || !told {
			return err
		}
		newest := slices.MaxFunc(waiting, func(a, b asked) int {
			return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.UpdateID, b.UpdateID))
		})
		return q.post(newest.Key, "", []Message{{Kind: Notice, Text: notice, ReplyTo: newest.message}})
	})
	return told, err
}
