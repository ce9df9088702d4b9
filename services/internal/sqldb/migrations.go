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

// SchemaError says that a database was written by a newer program. Nothing was
// changed.
type SchemaError struct {
	File    int // steps the database has seen
	Program int // steps this program knows
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("database schema %d is newer than this program's %d: nothing was changed; run the newer program",
		e.File, e.Program)
}

// schema is how a kind of database counts the migrations it has seen.
type schema interface {
	done(context.Context, *sql.Tx) (int, error)
	// lock is done in a write transaction; nobody else migrates before its end.
	lock(context.Context, *sql.Tx) (int, error)
	set(ctx context.Context, tx *sql.Tx, done int) error
}

// Schema is how many migrations the database has seen; *SchemaError when they are
// more than the program's.
func (db *DB) Schema(ctx context.Context, m Migrations) (done int, err error) {
	names, err := m.names()
	if err != nil {
		return 0, err
	}
	err = db.Read(ctx, func(tx *sql.Tx) error { done, err = db.schema.done(ctx, tx); return err })
	if err == nil && done > len(names) {
		err = &SchemaError{File: done, Program: len(names)}
	}
	return done, err
}

func (m Migrations) names() ([]string, error) {
	names, err := fs.Glob(m.Files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Migrate brings the schema up to date and then runs fn, which may be nil, in one
// transaction: when fn fails, the schema is what it was. A database of a newer
// program is refused with *SchemaError.
func (db *DB) Migrate(ctx context.Context, m Migrations, fn func(*sql.Tx) error) error {
	names, err := m.names()
	if err != nil {
		return err
	}
	// Large tables take their time: no limit but ctx.
	return db.judged(transact(ctx, db.writer, db.writes, func(tx *sql.Tx) error {
		done, err := db.schema.lock(ctx, tx)
		if err != nil {
			return err
		}
		if done > len(names) {
			return &SchemaError{File: done, Program: len(names)}
		}
		if done < 0 {
			return &Error{Op: "migration", Kind: Other, Err: fmt.Errorf("the schema's version is %d: no program of ours wrote that", done)}
		}
		for _, name := range names[done:] {
			step, err := fs.ReadFile(m.Files, name)
			if err != nil {
				return fmt.Errorf("read migration: %w", err)
			}
			if _, err := tx.ExecContext(ctx, string(step)); err != nil {
				return fmt.Errorf("migration %s: %w", name, Wrap("statement", err))
			}
		}
		if done < len(names) {
			if err := db.schema.set(ctx, tx, len(names)); err != nil {
				return err
			}
		}
		if fn == nil {
			return nil
		}
		return fn(tx)
	}))
}

// pragmaSchema counts in the header of a SQLite file.
type pragmaSchema struct{}

func (pragmaSchema) done(ctx context.Context, tx *sql.Tx) (n int, err error) {
	err = tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&n)
	return n, err
}

func (s pragmaSchema) lock(ctx context.Context, tx *sql.Tx) (int, error) { return s.done(ctx, tx) }

func (pragmaSchema) set(ctx context.Context, tx *sql.Tx, n int) error {
	// PRAGMA takes no parameters; the value is our own count.
	_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", n))
	return err
}
