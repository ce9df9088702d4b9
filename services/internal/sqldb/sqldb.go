// Package sqldb opens the databases that Telecodex keeps its promises in: SQLite
// files, or for the same statements a PostgreSQL database. One writer, many
// readers, every commit on the disk before it returns. It applies embedded
// migrations, forward only, and refuses what a newer program has written.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// DB is an open database. Writes go through Write, reads through Read.
type DB struct {
	writer *sql.DB
	reader *sql.DB
	schema schema
	writes *sql.TxOptions // nil: as the connection begins them
	reads  *sql.TxOptions
	limit  time.Duration // of a transaction; 0: none
	// observe is told of every Write, but for those that their caller gave up; nil:
	// nobody is.
	observe func(took time.Duration, err error)
	damaged func() // nil: nobody is told
}

// Observe has every Write timed, from its beginning until it is on the disk, or
// until the database failed; one that fn gives up is not. It is called once, before
// the first of them; f must not block.
func (db *DB) Observe(f func(took time.Duration, err error)) { db.observe = f }

// OnDamage has f called whenever the file turns out to be damaged, by whichever
// transaction. It is set before the first of them.
func (db *DB) OnDamage(f func()) { db.damaged = f }

// judged is an error that a transaction ended with; nil: none.
func (db *DB) judged(err error) error {
	if err != nil && db.damaged != nil && KindOf(err) == Corrupt {
		db.damaged()
	}
	return err
}

// Open is Connect and then Migrate.
func Open(ctx context.Context, target string, migrations Migrations) (*DB, error) {
	db, err := Connect(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, migrations, nil); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Connect opens the database at target: the path of a SQLite file, which is made
// where it is missing (mode 0600, its directory 0700), or a postgres:// URL. Its
// schema stays as it is. A server is asked for nothing before the first Write or
// Read: it may be away at any time, and so at the beginning. The database is
// closed by Close.
//
// Errors: *Error with a Kind; *TargetError.
func Connect(ctx context.Context, target string) (*DB, error) {
	if IsPostgres(target) {
		return connectPostgres(target)
	}
	return connectSQLite(ctx, target)
}

func connectSQLite(ctx context.Context, path string) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &Error{Op: "create directory", Kind: kindOfFile(err), Err: err}
	}
	// Created here, since SQLite would create it with the umask's mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &Error{Op: "open", Kind: kindOfFile(err), Err: err}
	}
	if err := f.Close(); err != nil {
		return nil, &Error{Op: "open", Kind: Other, Err: err}
	}
	db := &DB{writer: connect(path, "BEGIN IMMEDIATE", 1), reader: connect(path, "BEGIN DEFERRED", readers()), schema: pragmaSchema{}}
	if err := db.writer.PingContext(ctx); err != nil {
		return nil, errors.Join(Wrap("open", err), db.Close())
	}
	return db, nil
}

// readers is the size of the read pool: enough to keep every core busy.
func readers() int { return max(2, runtime.GOMAXPROCS(0)) }

func connect(path, begin string, conns int) *sql.DB {
	db := sql.OpenDB(connector{dsn: dsn(path, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		"temp_store(MEMORY)", "wal_autocheckpoint(4000)"), begin: begin})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// dsn is an opaque URI, since a path may hold "?" and "#".
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": pragmas}
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + q.Encode()
}

// Close closes the database. It waits for the statements that run.
func (db *DB) Close() error { return errors.Join(db.writer.Close(), db.reader.Close()) }

// Write runs fn in a write transaction and commits it: when Write returns nil,
// what fn wrote is on the disk. When fn fails, nothing is. SQLite lets one
// transaction write at a time; with PostgreSQL whoever shares a row with others
// begins by locking it, and from then on sees all that they have committed. See
// InDoubt for the one error that does not mean that nothing was written.
func (db *DB) Write(ctx context.Context, fn func(*sql.Tx) error) error {
	began := time.Now()
	err := db.transact(ctx, db.writer, db.writes, fn)
	if _, broken := errors.AsType[*Error](err); db.observe != nil && (err == nil || broken) {
		db.observe(time.Since(began), err)
	}
	return err
}

// Read runs fn on one consistent snapshot.
func (db *DB) Read(ctx context.Context, fn func(*sql.Tx) error) error {
	return db.transact(ctx, db.reader, db.reads, fn)
}

func (db *DB) transact(ctx context.Context, pool *sql.DB, options *sql.TxOptions, fn func(*sql.Tx) error) error {
	if db.limit == 0 {
		return db.judged(transact(ctx, pool, options, fn))
	}
	limited, cancel := context.WithTimeout(ctx, db.limit)
	defer cancel()
	op := "transaction"
	err := transact(limited, pool, options, func(tx *sql.Tx) error {
		err := fn(tx)
		if err == nil {
			op = committing
		}
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return &Error{Op: op, Kind: Unavailable, Err: err}
	}
	return err
}

func transact(ctx context.Context, pool *sql.DB, options *sql.TxOptions, fn func(*sql.Tx) error) error {
	tx, err := pool.BeginTx(ctx, options)
	if err != nil {
		return over(ctx, Wrap("begin", err))
	}
	if err := fn(tx); err != nil {
		// The rollback's own failure adds nothing: the transaction is gone
		// with its connection either way.
		_ = tx.Rollback()
		return over(ctx, Wrap("statement", err))
	}
	if err := tx.Commit(); err != nil {
		return over(ctx, Wrap(committing, err))
	}
	return nil
}

// over is err, or the end of ctx where that is why: where it has undone the
// transaction between two statements, database/sql says only that there is none any
// more, and where it was cancelled while a connection was made or used, the driver says
// that there is none. A commit remains in doubt.
func over(ctx context.Context, err error) error {
	own, known := errors.AsType[*Error](err)
	switch {
	case ctx.Err() != nil && errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.Is(ctx.Err(), context.Canceled) && known && own.Kind == Unavailable && own.Op != committing:
		return ctx.Err()
	}
	return err
}

// committing is the Op of a commit that failed.
const committing = "commit"

// InDoubt reports whether an error of Write leaves open whether the transaction
// was committed: the server was asked to, and its answer never came.
func InDoubt(err error) bool {
	own, ok := errors.AsType[*Error](err)
	return ok && own.Op == committing && own.Kind == Unavailable
}

// Kind is what a failure of the database means to its user.
type Kind int

// Kinds of failures.
const (
	Other       Kind = iota
	Full             // the disk is full: nothing was written
	ReadOnly         // the disk or file cannot be written
	Corrupt          // the file is not a sound database
	Busy             // another process holds the file, or what is to be written
	IO               // the disk failed to read
	Unavailable      // the server cannot be reached, or ended the connection
)

// Error is a failure of the database. Its text never holds a value.
type Error struct {
	Op   string
	Kind Kind
	Err  error
}

func (e *Error) Error() string {
	what := [...]string{"failed", "disk full", "not writable", "file is damaged", "held by another process",
		"input or output failed", "the server cannot be reached"}[e.Kind]
	return fmt.Sprintf("database %s: %s: %v", e.Op, what, e.Err)
}

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// Wrap classifies an error of the driver. Errors of other origin, sql.ErrNoRows
// and the end of a context among them, pass unchanged.
func Wrap(op string, err error) error {
	var own *Error
	var lite *sqlite.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	if !errors.As(err, &lite) {
		if failed := postgresError(op, err); failed != nil {
			return failed
		}
		return err
	}
	// The low byte is the primary result code (https://sqlite.org/rescode.html).
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return &Error{op, Full, err}
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return &Error{op, ReadOnly, err}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &Error{op, Corrupt, err}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &Error{op, Busy, err}
	case sqlite3.SQLITE_IOERR:
		if refusesWrites(lite.Code()) {
			return &Error{op, ReadOnly, err}
		}
		return &Error{op, IO, err}
	}
	return &Error{op, Other, err}
}

// refusesWrites says whether the disk failed to take something. SQLite names so what the
// system refuses of a file that is open already, whether the disk is read-only, has a
// limit, or fails.
func refusesWrites(code int) bool {
	switch code {
	case sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
		sqlite3.SQLITE_IOERR_DELETE, sqlite3.SQLITE_IOERR_SHMSIZE:
		return true
	}
	return false
}

// KindOf returns the kind of a failure, Other for errors of another origin.
func KindOf(err error) Kind {
	var own *Error
	if errors.As(err, &own) {
		return own.Kind
	}
	return Other
}

func kindOfFile(err error) Kind {
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return ReadOnly
	case errors.Is(err, syscall.ENOSPC):
		return Full
	}
	return Other
}
