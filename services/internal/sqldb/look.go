package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNoDatabase says that a file is there, and is no SQLite database, or no longer.
var ErrNoDatabase = errors.New("it is no SQLite database")

const looking = "look"

// LookLimit is how long a Look may take, so that a Mend does not give up meanwhile.
const LookLimit = mendPatience - 500*time.Millisecond

// Look looks whether the SQLite file at path can be opened: whether it is a sound
// database, and of no newer program. It changes nothing, and nobody who uses the file
// waits for it. Not all was looked at (whole is false, without an error) where ctx ended
// before, or another process has the file for itself. A file that is missing is well.
//
// Errors: *Error, of kind Corrupt where the file is damaged, and that around
// ErrNoDatabase where it is none; *SchemaError. None holds what stands in the file.
func Look(ctx context.Context, path string, m Migrations) (whole bool, err error) {
	names, err := m.names()
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	// Who begins to use the file meanwhile may make it look damaged, once.
	for range 2 {
		if err = look(ctx, path, len(names)); KindOf(err) != Corrupt {
			break
		}
	}
	if err != nil && KindOf(err) != Corrupt && ctx.Err() != nil || KindOf(err) == Busy {
		return false, nil
	}
	return err == nil, err
}

func look(ctx context.Context, path string, program int) (err error) {
	name := dsn(path, "busy_timeout(500)", "query_only(1)") + "&mode=ro"
	// Without a log nobody has the file open, and SQLite would make one to read it.
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		name += "&immutable=1"
	}
	db := sql.OpenDB(connector{dsn: name})
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return looked(err)
	}
	if version > program {
		return &SchemaError{File: version, Program: program}
	}
	var first string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&first); err != nil {
		return looked(err)
	}
	if first != "ok" || version < 0 {
		return looked(errContradicts)
	}
	return nil
}

var errContradicts = errors.New("its pages contradict each other")

// looked is what an error of Look says, which for damage SQLite words with what it
// found in the file.
func looked(err error) error {
	lite, ok := errors.AsType[*sqlite.Error](err)
	switch {
	case ok && lite.Code()&0xff == sqlite3.SQLITE_NOTADB:
		return &Error{Op: looking, Kind: Corrupt, Err: ErrNoDatabase}
	case err == errContradicts || KindOf(Wrap(looking, err)) == Corrupt:
		return &Error{Op: looking, Kind: Corrupt, Err: errContradicts}
	}
	return Wrap(looking, err)
}
