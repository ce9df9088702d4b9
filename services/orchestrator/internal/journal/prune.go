package journal

import (
	"database/sql"
	"time"
)

// KeepIDs is how long a turn's id outlives its events, so that an old id cannot
// run again.
const KeepIDs = 30 * 24 * time.Hour

// Bounds of one Prune: short enough for the commits of running turns, which wait
// for it.
const (
	pruneSegments = 16
	pruneTurns    = 256
)

// Prune drops a bounded number of events of acknowledged turns, and of turns
// whose id was kept long enough. more says that another call would find work.
func (j *Journal) Prune(now time.Time) (more bool, err error) {
	err = j.committer.call(func(tx *sql.Tx) error {
		dropped, err := dropSegments(tx, now)
		if err != nil {
			return err
		}
		forgotten, err := tx.Exec(`DELETE FROM turns WHERE id IN
			(SELECT id FROM turns WHERE dropped_at IS NOT NULL AND dropped_at < ? LIMIT ?)`, now.Add(-KeepIDs).UnixNano(), pruneTurns)
		if err != nil {
			return err
		}
		n, err := forgotten.RowsAffected()
		more = dropped || n == pruneTurns
		return err
	})
	return more, err
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
