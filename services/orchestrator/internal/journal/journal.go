// Package journal is the worker's memory of its turns: which ids it has seen,
// with what input, how they ended, and every event until the caller has stored
// the outcome. It is one SQLite file on the worker's own disk.
//
// Nothing is shown before it is stored: an append reports back after the commit
// that holds it. Commits are grouped without added delay: while one runs, the
// next gathers what all turns append meanwhile. Prompts and environments are not
// stored, only a digest of what makes a turn the same turn.
package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"

	"telecodex.dev/services/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Errors of the journal. Failures of the disk are *sqldb.Error.
var (
	// ErrUnknown says that the journal has no such turn.
	ErrUnknown = errors.New("journal: unknown turn")
	// ErrUnfinished says that the turn has not ended.
	ErrUnfinished = errors.New("journal: turn has not ended")
	// ErrClosed says that the journal was closed before the write.
	ErrClosed = errors.New("journal: closed")
	// ErrGap says that an earlier append of the turn failed, so that this one
	// would have left a hole in its sequence. Nothing was written.
	ErrGap = errors.New("journal: an earlier append of the turn failed")
)

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	db        *sqldb.DB
	id        string
	committer *committer
}

// Open opens or creates the journal at path, and looks through all of it: what is
// damaged anywhere is not begun with. Close ends it.
//
// Errors: *sqldb.Error, of kind sqldb.Corrupt where the file is damaged;
// *sqldb.SchemaError.
func Open(ctx context.Context, path string) (*Journal, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("journal migrations: %w", err)
	}
	db, err := sqldb.Open(ctx, path, sqldb.Migrations{Files: steps})
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	err = sound(ctx, db)
	var id string
	if err == nil {
		id, err = identify(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), db.Close())
	}
	// So the first commits are as fast as those of a worker that has run for long. A disk too full for it may be good for commits.
	_ = sqldb.ExtendLog(path, logBytes)
	return &Journal{db: db, id: id, committer: newCommitter(db)}, nil
}

// Look looks whether a worker could begin with the journal at path, as sqldb.Look does,
// for as long as no worker would mind.
func Look(ctx context.Context, path string) (whole bool, err error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return false, fmt.Errorf("journal migrations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sqldb.LookLimit)
	defer cancel()
	return sqldb.Look(ctx, path, sqldb.Migrations{Files: steps})
}

// sound reads every page, but compares no index with its table.
func sound(ctx context.Context, db *sqldb.DB) error {
	return db.Read(ctx, func(tx *sql.Tx) error {
		var first string
		err := tx.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&first)
		if err == nil && first != "ok" {
			err = &sqldb.Error{Op: "check", Kind: sqldb.Corrupt, Err: errors.New("its pages contradict each other")}
		}
		return err
	})
}

// SetAside moves the journal at path, which nobody has open, out of the way, and
// says where it is.
func SetAside(path string, now time.Time) (aside string, err error) {
	aside = sqldb.Aside(path, now)
	// The file itself first: without it nothing is taken for a journal, whatever of
	// the rest a crash leaves behind.
	for _, part := range sqldb.Parts {
		if err := os.Rename(path+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set the journal aside: %w", err)
		}
	}
	return aside, nil
}

// logBytes is the length that the write-ahead log begins with: about a thousand commits of one event.
const logBytes = 4 << 20

// identify reads the journal's id, or gives a new journal one.
func identify(ctx context.Context, db *sqldb.DB) (id string, err error) {
	err = db.Write(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT id FROM journal").Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		id = uuid.NewString()
		_, err = tx.ExecContext(ctx, "INSERT INTO journal (id) VALUES (?)", id)
		return err
	})
	return id, err
}

// Observe has every write transaction timed. It is called once, before anything is
// written; f must not block.
func (j *Journal) Observe(f func(took time.Duration, err error)) { j.db.Observe(f) }

// ID is random and stays with the file: another id means another disk.
func (j *Journal) ID() string { return j.id }

// Close commits what was handed in, then closes the file. Later writes get
// ErrClosed.
func (j *Journal) Close() error {
	j.committer.close()
	return j.db.Close()
}

// Digest is what makes two requests for a turn id the same turn.
type Digest [sha256.Size]byte

// DigestOf digests the input of a turn. Every part is preceded by its length, so
// that no two inputs run into each other.
func DigestOf(sessionID, threadID, prompt, workingDir string) (d Digest) {
	hash := sha256.New()
	for _, part := range []string{sessionID, threadID, prompt, workingDir} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		hash.Write(size[:])
		hash.Write([]byte(part))
	}
	hash.Sum(d[:0])
	return d
}
