package store

import "context"

// decided has the question about a turn say what was decided. Where it was sent
// already, it is outdated until Amended.
func (q *tx) decided(t Turn, shown string) error {
	if shown == "" {
		return nil
	}
	return q.exec(`UPDATE outbox SET text = $5, markup = '', outdated = 1
		WHERE bot_id = $1 AND update_id = $2 AND generation = $3 AND turn_id = $4 AND kind = 'question'`,
		q.bot, t.Key.UpdateID, t.Key.Generation, t.ID, clean(shown))
}

// Outdated are the messages that were sent and are to say something else, with what.
func (s *Store) Outdated(ctx context.Context) (messages []Outgoing, err error) {
	err = s.read(ctx, func(q *tx) error {
		messages, err = collect(q, func(row scanner) (o Outgoing, err error) {
			dest, done := o.dest()
			err = row.Scan(append(dest, &o.Text)...)
			done()
			return o, err
		}, `SELECT `+traceColumns+`, text FROM outbox WHERE bot_id = $1 AND outdated = 1 AND state = 'SENT' ORDER BY outbox_id`, q.bot)
		return err
	})
	return messages, err
}

// Amended notes that an outdated message says what it is to say, or never will.
func (s *Store) Amended(ctx context.Context, id int64) error {
	return s.write(ctx, func(q *tx) error {
		return q.exec(`UPDATE outbox SET outdated = 0 WHERE bot_id = $1 AND outbox_id = $2`, q.bot, id)
	})
}
