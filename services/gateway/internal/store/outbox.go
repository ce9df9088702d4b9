package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// InDoubt is the reason of a message whose earlier call may have been carried
// out.
const InDoubt = "delivery-in-doubt"

// post puts messages of an update into the outbox, for the chat that it came from:
// where that is another one by now, they reply to nothing.
func (q *tx) post(key Key, turnID string, messages []Message) error {
	for _, m := range messages {
		name := ""
		if m.Document != nil {
			name = m.Document.Name
		}
		// The fence lets one gateway write at a time: nobody else takes the id.
		id, ok, err := found(q, readInt64, `INSERT INTO outbox (bot_id, outbox_id, generation, update_id, turn_id, chat_id, topic_id,
				group_chat, kind, text, document_name, document_bytes, reply_to, markup, state, attempts, not_before, in_doubt,
				sent_message_id, reason, created_at, done_at)
			SELECT $1, (SELECT coalesce(max(outbox_id), 0) + 1 FROM outbox WHERE bot_id = $1), u.generation, u.update_id, $4,
				coalesce(c.migrated_to, u.chat_id), u.topic_id, 1 - u.private, $5, $6, $7, $8,
				CASE WHEN c.migrated_to IS NULL THEN CAST($9 AS BIGINT) ELSE 0 END, $10, 'PENDING', 0, 0, 0, 0, '', $11, 0
			FROM updates u LEFT JOIN chats c ON c.bot_id = u.bot_id AND c.chat_id = u.chat_id AND c.migrated_to <> 0
			WHERE u.bot_id = $1 AND u.update_id = $2 AND u.generation = $3
			RETURNING outbox_id`,
			q.bot, key.UpdateID, key.Generation, turnID, m.Kind, clean(m.Text), clean(name), m.Document.size(), m.ReplyTo,
			clean(string(m.Markup)), q.now)
		if err != nil {
			return err
		}
		if !ok {
			return &StateError{What: key.String()}
		}
		if err := q.keepDocument(id, m.Document); err != nil {
			return err
		}
	}
	return nil
}

// deliver settles a finished update when none of its messages waits any more, and
// says when it was received.
func (q *tx) deliver(key Key) (settled bool, received int64, err error) {
	received, settled, err = found(q, readInt64, `UPDATE updates SET state = 'DELIVERED', settled_at = $4
		WHERE bot_id = $1 AND update_id = $2 AND generation = $3 AND state = 'FINISHED' AND NOT EXISTS (
			SELECT 1 FROM outbox WHERE bot_id = $1 AND update_id = $2 AND generation = $3 AND done_at = 0)
		RETURNING received_at`, q.bot, key.UpdateID, key.Generation, q.now)
	if err != nil || !settled {
		return settled, 0, err
	}
	return settled, received, q.count(0, 1, 0)
}

const traceColumns = `outbox_id, generation, update_id, turn_id, chat_id, topic_id, group_chat, kind, reply_to, state, attempts,
	not_before, in_doubt, sent_message_id, reason, created_at, done_at`

func (o *Outgoing) dest() (dest []any, done func()) {
	var notBefore, created, ended int64
	return []any{&o.ID, &o.Key.Generation, &o.Key.UpdateID, &o.TurnID, &o.ChatID, &o.TopicID, &o.Group, &o.Kind, &o.ReplyTo,
			&o.State, &o.Attempts, &notBefore, &o.Doubts, &o.SentMessageID, &o.Reason, &created, &ended}, func() {
			o.NotBefore, o.CreatedAt, o.DoneAt = fromMillis(notBefore), fromMillis(created), fromMillis(ended)
		}
}

// readTrace reads a message without what it says.
func readTrace(row scanner) (o Outgoing, err error) {
	dest, done := o.dest()
	err = row.Scan(dest...)
	done()
	return o, err
}

// waiting is the first message of a chat that is not done; none while it is
// being sent.
func (q *tx) waiting(chatID int64) (Outgoing, bool, error) {
	size := noDocument
	o, ok, err := found(q, func(row scanner) (o Outgoing, err error) {
		var name, markup string
		dest, done := o.dest()
		err = row.Scan(append(dest, &o.Text, &name, &size, &markup)...)
		done()
		if size != noDocument {
			o.Document = &Document{Name: name}
		}
		if markup != "" {
			o.Markup = json.RawMessage(markup)
		}
		return o, err
	}, `SELECT `+traceColumns+`, text, document_name, document_bytes, markup FROM outbox
		WHERE bot_id = $1 AND chat_id = $2 AND done_at = 0 ORDER BY outbox_id LIMIT 1`, q.bot, chatID)
	if err != nil || !ok || o.State == Sending {
		return Outgoing{}, false, err
	}
	if o.Document != nil {
		o.Document.Content, err = q.loadDocument(o.ID, size)
	}
	return o, err == nil, err
}

// RecoverOutbox is called once, before anything is sent: messages that were
// being sent when the last gateway ended wait again, in doubt.
func (s *Store) RecoverOutbox(ctx context.Context) (inDoubt []Outgoing, err error) {
	err = s.write(ctx, func(q *tx) error {
		if err := q.exec(`UPDATE outbox SET in_doubt = in_doubt + 1, reason = $2 WHERE bot_id = $1 AND done_at = 0 AND state = 'SENDING'`,
			q.bot, InDoubt); err != nil {
			return err
		}
		if inDoubt, err = collect(q, readTrace, `SELECT `+traceColumns+` FROM outbox
			WHERE bot_id = $1 AND done_at = 0 AND state = 'SENDING' ORDER BY outbox_id`, q.bot); err != nil {
			return err
		}
		for i := range inDoubt {
			inDoubt[i].State = Pending
		}
		return q.exec(`UPDATE outbox SET state = 'PENDING' WHERE bot_id = $1 AND done_at = 0 AND state = 'SENDING'`, q.bot)
	})
	return inDoubt, err
}

// PendingChats are the chats that messages wait for.
func (s *Store) PendingChats(ctx context.Context) (chats []int64, err error) {
	err = s.read(ctx, func(q *tx) error {
		chats, err = collect(q, readInt64, `SELECT DISTINCT chat_id FROM outbox WHERE bot_id = $1 AND done_at = 0 ORDER BY chat_id`, q.bot)
		return err
	})
	return chats, err
}

// Unsent are the updates that nothing but messages to a chat is left to do for.
func (s *Store) Unsent(ctx context.Context, chatID int64) (updates []Update, err error) {
	err = s.read(ctx, func(q *tx) error {
		updates, err = collect(q, readUpdate, `SELECT `+updateColumns+` FROM updates
			WHERE bot_id = $1 AND state = 'FINISHED' AND (update_id, generation) IN (
				SELECT update_id, generation FROM outbox WHERE bot_id = $1 AND chat_id = $2 AND done_at = 0)
			ORDER BY generation, update_id`, q.bot, chatID)
		return err
	})
	return updates, err
}

// NextMessage is the message a chat gets next; none while one is being sent.
func (s *Store) NextMessage(ctx context.Context, chatID int64) (o Outgoing, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error { o, ok, err = q.waiting(chatID); return err })
	return o, ok, err
}

// MarkSending is committed before the call to Telegram is made.
func (s *Store) MarkSending(ctx context.Context, id int64) error {
	return s.write(ctx, func(q *tx) error {
		ok, err := q.changed(`UPDATE outbox SET state = 'SENDING', attempts = attempts + 1
			WHERE bot_id = $1 AND outbox_id = $2 AND state = 'PENDING'`, q.bot, id)
		if err != nil || ok {
			return err
		}
		return q.refuseMessage(id, "PENDING")
	})
}

func (q *tx) message(id int64) (Outgoing, bool, error) {
	return found(q, readTrace, `SELECT `+traceColumns+` FROM outbox WHERE bot_id = $1 AND outbox_id = $2`, q.bot, id)
}

func (q *tx) refuseMessage(id int64, want string) error {
	o, _, err := q.message(id)
	if err != nil {
		return err
	}
	return &StateError{What: fmt.Sprintf("message %d", id), Want: want, Have: string(o.State)}
}

// MarkSent notes that Telegram has taken a message, under which id.
func (s *Store) MarkSent(ctx context.Context, id, messageID int64, at time.Time) (SentResult, error) {
	return s.done(ctx, id, Sent, `UPDATE outbox SET state = 'SENT', sent_message_id = $3, reason = '', done_at = $4
		WHERE bot_id = $1 AND outbox_id = $2 AND state = 'SENDING'`, messageID, millis(at))
}

// MarkDead notes that a message was refused for good, and why.
func (s *Store) MarkDead(ctx context.Context, id int64, reason string) (SentResult, error) {
	return s.done(ctx, id, Dead, `UPDATE outbox SET state = 'DEAD', reason = $3, done_at = $4
		WHERE bot_id = $1 AND outbox_id = $2 AND done_at = 0`, clean(reason), millis(time.Now()))
}

// done ends a message and, with its last one, its update. Ending it again the
// same way changes nothing and settles nothing.
func (s *Store) done(ctx context.Context, id int64, state SendState, statement string, value any, at int64) (r SentResult, err error) {
	err = s.write(ctx, func(q *tx) error {
		var chatID, size int64
		r = SentResult{}
		err := q.row(statement+` RETURNING generation, update_id, turn_id, chat_id, document_bytes`, q.bot, id, value, at).
			Scan(&r.Key.Generation, &r.Key.UpdateID, &r.TurnID, &chatID, &size)
		if errors.Is(err, sql.ErrNoRows) {
			r, err = q.doneBefore(id, state)
			return err
		}
		if err != nil {
			return err
		}
		if size > 0 {
			if err := q.dropDocument(id); err != nil {
				return err
			}
		}
		var received int64
		if r.Settled, received, err = q.deliver(r.Key); err != nil {
			return err
		}
		r.ReceivedAt = fromMillis(received)
		if err := q.sentResult(&r); err != nil {
			return err
		}
		r.Next, r.More, err = q.waiting(chatID)
		return err
	})
	return r, err
}

// doneBefore is the result of a message that was ended this way already.
func (q *tx) doneBefore(id int64, state SendState) (r SentResult, err error) {
	o, _, err := q.message(id)
	if err != nil {
		return r, err
	}
	if o.State != state {
		return r, &StateError{What: fmt.Sprintf("message %d", id), Want: string(Sending), Have: string(o.State)}
	}
	r = SentResult{Key: o.Key, TurnID: o.TurnID}
	if err := q.sentResult(&r); err != nil {
		return r, err
	}
	r.Next, r.More, err = q.waiting(o.ChatID)
	return r, err
}

// sentResult gathers what became of an update's messages and of its turn.
func (q *tx) sentResult(r *SentResult) error {
	var answers, sent int
	err := q.row(`SELECT coalesce(sum(CASE WHEN kind = 'answer' THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN kind = 'answer' AND state = 'SENT' THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN state = 'DEAD' THEN 1 ELSE 0 END), 0)
		FROM outbox WHERE bot_id = $1 AND update_id = $2 AND generation = $3`, q.bot, r.Key.UpdateID, r.Key.Generation).
		Scan(&answers, &sent, &r.DeadLetters)
	if err != nil {
		return err
	}
	r.Answered = answers > 0 && sent == answers
	err = q.row(`SELECT outcome, error_code, error_message FROM turns WHERE bot_id = $1 AND update_id = $2 AND generation = $3
		ORDER BY attempt DESC LIMIT 1`, q.bot, r.Key.UpdateID, r.Key.Generation).
		Scan(&r.Outcome.Name, &r.Outcome.ErrorCode, &r.Outcome.ErrorMessage)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // a command
	}
	return err
}

// MarkRetry puts a message back after a call that failed; inDoubt says that the
// call may have been carried out all the same.
func (s *Store) MarkRetry(ctx context.Context, id int64, notBefore time.Time, reason string, inDoubt bool) error {
	return s.write(ctx, func(q *tx) error {
		ok, err := q.changed(`UPDATE outbox SET state = 'PENDING', not_before = $3, reason = $4, in_doubt = in_doubt + $5
			WHERE bot_id = $1 AND outbox_id = $2 AND state = 'SENDING'`, q.bot, id, millis(notBefore), clean(reason), flag(inDoubt))
		if err != nil || ok {
			return err
		}
		return q.refuseMessage(id, "SENDING")
	})
}

// BlockChat notes that nothing may be sent to a chat before a time. A later one
// that is known already stays, unless the clock was set back since.
func (s *Store) BlockChat(ctx context.Context, chatID int64, until time.Time) error {
	return s.write(ctx, func(q *tx) error {
		return q.exec(`INSERT INTO chats (bot_id, chat_id, blocked_until, blocked_at, migrated_to, continued, drafts_refused)
			VALUES ($1, $2, $3, $4, 0, 0, 0)
			ON CONFLICT (bot_id, chat_id) DO UPDATE SET blocked_until = excluded.blocked_until, blocked_at = excluded.blocked_at
				WHERE excluded.blocked_until > chats.blocked_until OR chats.blocked_at > excluded.blocked_at`,
			q.bot, chatID, millis(until), q.now)
	})
}

// BlockedChats are the chats that must wait, and until when. Where the clock was
// set back, they wait no longer than was said.
func (s *Store) BlockedChats(ctx context.Context) (map[int64]time.Time, error) {
	blocked := map[int64]time.Time{}
	err := s.read(ctx, func(q *tx) error {
		_, err := collect(q, func(row scanner) (id int64, err error) {
			var until, at int64
			err = row.Scan(&id, &until, &at)
			blocked[id] = fromMillis(min(until, q.now+until-at))
			return id, err
		}, `SELECT chat_id, blocked_until, blocked_at FROM chats WHERE bot_id = $1 AND blocked_until > $2`, q.bot, q.now)
		return err
	})
	return blocked, err
}
