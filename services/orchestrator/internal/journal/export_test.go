package journal

import (
	"context"
	"database/sql"
	"fmt"
)

// LimitPages makes the disk look full once the file has so many pages; 0 lifts
// the limit.
func (j *Journal) LimitPages(ctx context.Context, pages int) error {
	if pages == 0 {
		pages = 1 << 30
	}
	return j.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}

// Damage makes a turn's row unreadable.
func (j *Journal) Damage(ctx context.Context, turnID string) error {
	return j.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE turns SET finished = x'ff' WHERE turn_id = ?", turnID)
		return err
	})
}

// Calls is how many writes other than appends gather for the next commit.
func (j *Journal) Calls() int {
	j.committer.mu.Lock()
	defer j.committer.mu.Unlock()
	return len(j.committer.next.calls)
}

// ReadOnly makes the file refuse every write until it is opened again, as a disk does
// that was mounted anew after a fault.
func (j *Journal) ReadOnly(ctx context.Context) error {
	return j.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "PRAGMA query_only = true")
		return err
	})
}
