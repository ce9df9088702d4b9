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
