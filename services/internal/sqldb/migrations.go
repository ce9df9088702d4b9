package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
)

// Migrations are the steps of a schema: the *.sql files of a file system, in
// the order of their names. A step that was released is never edited; a change
// is a new file.
type Migrations struct {
	Files fs.FS
}

// SchemaError says that a file was written by a newer program. Nothing was
// changed.
type SchemaError struct {
	File    int // steps the file has seen
	Program int // steps this program knows
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("database schema %d is newer than this program's %d: nothing was changed; run the newer program",
		e.File, e.Program)
}

func (m Migrations) apply(ctx context.Context, db *DB) error {
	names, err := fs.Glob(m.Files, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	return db.Write(ctx, func(tx *sql.Tx) error {
		var done int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&done); err != nil {
			return err
		}
		if done > len(names) {
			return &SchemaError{File: done, Program: len(names)}
		}
		for i := done; i < len(names); i++ {
			step, err := fs.ReadFile(m.Files, names[i])
			if err != nil {
				return fmt.Errorf("read migration: %w", err)
			}
			if _, err := tx.ExecContext(ctx, string(step)); err != nil {
				return fmt.Errorf("migration %s: %w", names[i], err)
			}
		}
		if done == len(names) {
			return nil
		}
		// PRAGMA takes no parameters; the value is our own count.
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(names)))
		return err
	})
}
