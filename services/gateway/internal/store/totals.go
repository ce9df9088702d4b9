package store

import (
	"context"
	"time"
)

// Tally is what has become of all updates that were ever stored for the bot. None
// is lost and none is counted twice:
//
//	Accepted = Answered + Dropped + Interrupted + Pending
//
// Accepted, Answered and Dropped are totals, each kept in the transaction in which
// it happens; Interrupted and Pending are counted, by the work that the gateway
// still finds in the store. So the two sides are known independently.
type Tally struct {
	Accepted    int64 // stored, whatever they ask for
	Answered    int64 // nothing of them waits any more
	Dropped     int64 // refused, not understood, or dropped by a person's decision
	Interrupted int64 // may have partly run; a person decides
	Pending     int64 // wait or run in their lanes, or wait to be handled or for their messages to be sent
}

// Lost is by how many updates the law is broken: 0, unless there is a bug. It is
// positive for updates that nothing will ever be done for.
func (t Tally) Lost() int64 { return t.Accepted - t.Answered - t.Dropped - t.Interrupted - t.Pending }

// Survey is what those see who watch the store, as of one moment.
type Survey struct {
	Stats
	Tally Tally
	// Ages of the oldest; 0: there is none.
	OldestQueued time.Duration // lane work that waits or runs, since it was received
	OldestUnsent time.Duration // message of the outbox, since it was written
}

// Survey looks at the whole store on one snapshot. What it costs depends on what
// waits, not on what was settled.
func (s *Store) Survey(ctx context.Context) (v Survey, err error) {
	err = s.read(ctx, func(q *tx) error {
		if v.Stats, err = q.stats(s.bot.Fingerprint); err != nil {
			return err
		}
		var commands, unsent, received, written int64
		err := q.row(`SELECT accepted, answered, dropped,
				(SELECT count(*) FROM updates WHERE bot_id = $1 AND work = 'command'),
				(SELECT count(*) FROM updates WHERE bot_id = $1 AND state = 'FINISHED' AND (update_id, generation) IN (
					SELECT update_id, generation FROM outbox WHERE bot_id = $1 AND done_at = 0)),
				(SELECT coalesce(min(received_at), 0) FROM updates WHERE bot_id = $1 AND work = 'lane'),
				(SELECT coalesce(min(created_at), 0) FROM outbox WHERE bot_id = $1 AND done_at = 0)
			FROM totals WHERE bot_id = $1`, q.bot).
			Scan(&v.Tally.Accepted, &v.Tally.Answered, &v.Tally.Dropped, &commands, &unsent, &received, &written)
		if err != nil {
			return err
		}
		v.Tally.Interrupted = int64(v.Interrupted)
		v.Tally.Pending = int64(v.Queued+v.Running) + commands + unsent
		v.OldestQueued, v.OldestUnsent = q.age(received), q.age(written)
		return nil
	})
	return v, err
}

// age is how long ago a stored time was; 0 for none.
func (q *tx) age(at int64) time.Duration {
	if at == 0 {
		return 0
	}
	return max(0, time.Duration(q.now-at)*time.Millisecond)
}

// count adds to the bot's totals.
func (q *tx) count(accepted, answered, dropped int) error {
	if accepted == 0 && answered == 0 && dropped == 0 {
		return nil
	}
	return q.exec(`UPDATE totals SET accepted = accepted + $2, answered = answered + $3, dropped = dropped + $4 WHERE bot_id = $1`,
		q.bot, accepted, answered, dropped)
}
