package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"telecodex.dev/services/internal/sqldb"
)

var first = fstest.MapFS{
	"0001_notes.sql": {Data: []byte("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")},
}

var second = fstest.MapFS{
	"0001_notes.sql": first["0001_notes.sql"],
	"0002_pins.sql":  {Data: []byte("ALTER TABLE notes ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0; CREATE INDEX pins ON notes (pinned)")},
}

func open(t *testing.T, path string, files fstest.MapFS) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), path, sqldb.Migrations{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func insert(ctx context.Context, body string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO notes (body) VALUES ($1)", body)
		return err
	}
}

func count(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM notes").Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWriteIsSeenByReadersAndByTheNextProcess(t *testing.T) {
	t.Parallel()
	odd := "odd name?#%41"
	if runtime.GOOS == "windows" { // no name has a question mark there
		odd = "odd name#%41"
	}
	path := filepath.Join(t.TempDir(), odd, "x.db")
	db := open(t, path, first)
	if err := db.Write(t.Context(), insert(t.Context(), "hello")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Fatalf("readers see %d rows", n)
	}
	if n := count(t, open(t, path, second)); n != 1 {
		t.Fatalf("after the migration there are %d rows", n)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
}

// Every connection is as the promise needs it: what is committed is on the disk, in
// a log of its own, whichever connection of a pool wrote or reads it.
func TestEveryConnectionSyncsItsCommits(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	check := func(tx *sql.Tx) error {
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("PRAGMA %s is %q, want %q (%v)", pragma, got, want, err)
			}
		}
		return nil
	}
	if err := db.Write(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	// Readers within readers: each has a connection of its own.
	var within func(tx *sql.Tx, more int) error
	within = func(tx *sql.Tx, more int) error {
		if more == 0 {
			return check(tx)
		}
		return errors.Join(check(tx), db.Read(t.Context(), func(tx *sql.Tx) error { return within(tx, more-1) }))
	}
	if err := db.Read(t.Context(), func(tx *sql.Tx) error { return within(tx, 1) }); err != nil {
		t.Fatal(err)
	}
}

func TestWriteThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	refused := errors.New("refused")
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(insert(t.Context(), "hello")(tx), refused)
	})
	if !errors.Is(err, refused) {
		t.Fatalf("Write() = %v", err)
	}
	if n := count(t, db); n != 0 {
		t.Fatalf("%d rows were kept", n)
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path, second)
	_, err := sqldb.Open(t.Context(), path, sqldb.Migrations{Files: first})
	var schema *sqldb.SchemaError
	if !errors.As(err, &schema) || schema.File != 2 || schema.Program != 1 {
		t.Fatalf("Open() = %v", err)
	}
}

func TestOpenRefusesAVersionThatNobodyWrote(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	err := open(t, path, first).Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "PRAGMA user_version = -1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.Open(t.Context(), path, sqldb.Migrations{Files: first}); err == nil || !strings.Contains(err.Error(), "version is -1") {
		t.Errorf("Open() = %v", err)
	}
}

func TestOpenNamesADamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("this is no database, whatever its name says, and long enough to be read as one: "+
		"the header of a database is a hundred bytes long, so that this text goes on for a while"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqldb.Open(t.Context(), path, sqldb.Migrations{Files: first})
	if sqldb.KindOf(err) != sqldb.Corrupt {
		t.Fatalf("Open() = %v", err)
	}
}

func TestFullFileIsNamedAndKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	if err := db.Write(t.Context(), insert(t.Context(), "kept")); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "PRAGMA max_page_count = 4"); err != nil {
			return err
		}
		return insert(t.Context(), string(make([]byte, 1<<20)))(tx)
	})
	if sqldb.KindOf(err) != sqldb.Full {
		t.Fatalf("Write() = %v", err)
	}
	if n := count(t, db); n != 1 {
		t.Fatalf("%d rows", n)
	}
}
