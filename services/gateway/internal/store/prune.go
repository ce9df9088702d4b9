package store

import (
	"context"
	"time"
)

// What is kept of settled updates.
const (
	// KeepFor is how long at most. Telegram redelivers for at most a day, so that
	// what is older is not needed to know a duplicate.
	KeepFor = 30 * 24 * time.Hour
	// pruneBatch bounds one transaction, so that no lane waits for it.
	pruneBatch = 100
)

// Prune removes updates that were settled longer ago than KeepFor, and of those
// that were not all but about the newest keep, with their turns and messages, and
// returns how many. What waits for a decision or to be sent is kept, however old, and
// so is what a worker was not told yet that it may forget.
//
// What Telegram sends again of those that are removed is older than the cursor's
// floor, and so is stale.
func (s *Store) Prune(ctx context.Context, now time.Time, keep int) (removed int, err error) {
	before, err := s.prunable(ctx, now, keep)
	for n := pruneBatch; err == nil && n == pruneBatch; removed += n {
		n, err = s.pruneSome(ctx, before)
	}
	return removed, err
}

// prunable is when the oldest update was settled that is kept.
func (s *Store) prunable(ctx context.Context, now time.Time, keep int) (before int64, err error) {
	before = millis(now.Add(-KeepFor))
	err = s.read(ctx, func(q *tx) error {
		oldest, ok, err := found(q, readInt64, `SELECT settled_at FROM updates WHERE bot_id = $1 AND settled_at > 0
			ORDER BY settled_at DESC LIMIT 1 OFFSET $2`, q.bot, keep-1)
		if ok {
			before = max(before, oldest)
		}
		return err
	})
	return before, err
}

func (s *Store) pruneSome(ctx context.Context, before int64) (n int, err error) {
	err = s.write(ctx, func(q *tx) error {
		keys, err := collect(q, readKey, `SELECT generation, update_id FROM updates u
			WHERE bot_id = $1 AND settled_at > 0 AND settled_at < $2 AND state <> 'INTERRUPTED' AND NOT EXISTS (
				SELECT 1 FROM turns t WHERE t.bot_id = u.bot_id AND t.update_id = u.update_id AND t.generation = u.generation
					AND t.worker_id <> '' AND t.acknowledged_at = 0)
				AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.bot_id = u.bot_id AND o.update_id = u.update_id
					AND o.generation = u.generation AND o.done_at = 0)
			ORDER BY settled_at LIMIT $3`, q.bot, before, pruneBatch)
		if err != nil {
			return err
		}
		for _, key := range keys {
			for _, table := range []string{"outbox", "turns", "updates"} {
				if err := q.exec(`DELETE FROM `+table+` WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
					q.bot, key.UpdateID, key.Generation); err != nil {
					return err
				}
			}
		}
		n = len(keys)
		return nil
	})
	return n, err
}

func readKey(row scanner) (k Key, err error) { return k, row.Scan(&k.Generation, &k.UpdateID) }
