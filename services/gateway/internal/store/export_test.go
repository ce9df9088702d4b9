package store

import (
	"context"
	"database/sql"
	"fmt"
)

// LimitPages bounds the size of the database file, as a full disk does.
func (db *DB) LimitPages(ctx context.Context, pages int) error {
	return db.sql.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}
