package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"testing/fstest"

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
