package journal

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// KeepIDs is how long a turn's id outlives its events, so that an old id cannot
// run again.
const KeepIDs = 30 * 24 * time.Hour

// Bounds of one transaction: short enough for the commits of running turns, which
// wait for it.
const (
	pruneSegments = 16
	pruneTurns    = 128
)

// Prune drops the events of acknowledged turns, then the turns whose id was kept
// long enough, and of those that were not all but about the newest keep. It ends
// early, without an error, when ctx does.
func (j *Journal) Prune(ctx context.Context, now time.Time, keep int) error {
	err := j.repeat(ctx, func(tx *sql.Tx) (more bool, err error) { return dropSegments(tx, now) })
	if err != nil {
		return err
	}
	last, err := j.forgettable(ctx, now, keep)
	if err != nil {
		return err
	}
	return j.repeat(ctx, func(tx *sql.Tx) (more bool, err error) {
		done, err := tx.Exec(`DELETE FROM turns WHERE id IN (SELECT id FROM turns
			WHERE dropped_at IS NOT NULL AND (dropped_at, id) <= (?, ?) LIMIT ?)`, last.at, last.row, pruneTurns)
		if err != nil {
			return false, err
		}
		n, err := done.RowsAffected()
		return n == pruneTurns, err
	})
}

// repeat runs transactions until one says that nothing is left to be done.
func (j *Journal) repeat(ctx context.Context, some func(*sql.Tx) (more bool, err error)) error {
	for more := true; more && ctx.Err() == nil; {
		err := j.committer.call(func(tx *sql.Tx) (err error) { more, err = some(tx); return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// dropped is a place in the order in which the events of turns were dropped.
type dropped struct{ at, row int64 }

// forgettable is the last turn whose id is not kept.
func (j *Journal) forgettable(ctx context.Context, now time.Time, keep int) (last dropped, err error) {
	err = j.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT dropped_at, id FROM turns WHERE dropped_at IS NOT NULL
			ORDER BY dropped_at DESC, id DESC LIMIT 1 OFFSET ?`, keep).Scan(&last.at, &last.row)
	})
	if errors.Is(err, sql.ErrNoRows) || ctx.Err() != nil {
		err = nil
	}
	if old := now.Add(-KeepIDs).UnixNano(); old > last.at {
		last = dropped{at: old}
	}
	return last, err
}

// dropSegments drops events of the oldest acknowledged turn that has some, and
// reports whether there was such a turn.
func dropSegments(tx *sql.Tx, now time.Time) (found bool, err error) {
	rows, err := tx.Query(`SELECT id FROM turns WHERE acknowledged_at IS NOT NULL AND dropped_at IS NULL ORDER BY id LIMIT ?`, pruneSegments)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var turns []int64
	for rows.Next() {
		var turn int64
		if err := rows.Scan(&turn); err != nil {
			return false, err
		}
		turns = append(turns, turn)
	}
	if err := rows.Err(); err != nil {
		return false, err
	}
	budget := int64(pruneSegments)
	for _, turn := range turns {
		deleted, err := tx.Exec(`DELETE FROM segments WHERE place IN
			(SELECT place FROM segments WHERE place >= ? AND place < ? ORDER BY place LIMIT ?)`, place(turn, 0), place(turn+1, 0), budget)
		if err != nil {
			return false, err
		}
		n, err := deleted.RowsAffected()
		if err != nil {
			return false, err
		}
		if budget -= n; budget <= 0 {
			break
		}
		if _, err := tx.Exec("UPDATE turns SET dropped_at = ? WHERE id = ?", now.UnixNano(), turn); err != nil {
			return false, err
		}
	}
	return len(turns) > 0, nil
}
