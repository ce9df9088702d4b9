package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"testing/fstest"
	"time"

	"telecodex.dev/services/internal/sqldb"
)

// Head is the work that the lane of a session goes on with, if there is any.
func (s *Store) Head(ctx context.Context, sessionID string) (Turn, bool, error) {
	l, err := s.Load(ctx, sessionID)
	return l.Turn, l.Found, err
}

// PartSize is the size of a document's parts.
const PartSize = partSize

// Parts counts the parts of all documents.
func (db *DB) Parts(ctx context.Context) (n int, err error) {
	err = db.sql.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT count(*) FROM outbox_parts").Scan(&n)
	})
	return n, err
}

// LimitPages bounds the size of the database file, as a full disk does.
func (db *DB) LimitPages(ctx context.Context, pages int) error {
	return db.sql.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}

// Newer makes the database one of a newer program.
func (db *DB) Newer(ctx context.Context) error {
	files := fstest.MapFS{"9999_newer.sql": {Data: []byte("CREATE TABLE newer (id BIGINT)")}}
	known, err := fs.Glob(db.migrations.Files, "*.sql")
	if err != nil {
		return err
	}
	for _, name := range known {
		files[name] = &fstest.MapFile{}
	}
	return db.sql.Migrate(ctx, sqldb.Migrations{Files: files}, nil)
}

// Shift makes every stored time later, as if the clock had been set back by so
// much since.
func (db *DB) Shift(ctx context.Context, by time.Duration) error {
	return db.sql.Write(ctx, func(tx *sql.Tx) error {
		for table, columns := range map[string][]string{
			"chats":   {"blocked_until", "blocked_at"},
			"cursors": {"committed_at"},
			"updates": {"received_at", "settled_at", "told_at"},
			"turns":   {"resolved_at", "parked_at", "created_at", "assigned_at", "accepted_at", "ended_at", "acknowledged_at"},
			"outbox":  {"not_before", "created_at", "done_at"},
		} {
			for _, column := range columns {
				if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET %s = %s + %d WHERE %s > 0", table, column, column, by.Milliseconds(), column)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ReadOnly makes the database refuse every write, as a disk does that was mounted
// again after a fault.
func (db *DB) ReadOnly(ctx context.Context) error {
	return db.sql.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "PRAGMA query_only = true")
		return err
	})
}
