package sqldb_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"telecodex.dev/services/internal/sqldb"
)

// TestALongerLogIsOverwritten: commits do not make it longer, and what a process leaves behind that ends without a
// checkpoint is found.
func TestALongerLogIsOverwritten(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	path := filepath.Join(t.TempDir(), "a.db")
	table := sqldb.Migrations{Files: fstest.MapFS{"0001_t.sql": {Data: []byte("CREATE TABLE t (n INTEGER)")}}}
	db, err := sqldb.Open(t.Context(), path, table)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqldb.ExtendLog(path, size); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		err := db.Write(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), "INSERT INTO t VALUES (?)", n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != size {
		t.Errorf("the log has %d bytes", info.Size())
	}
	if err := sqldb.ExtendLog(path, size/2); err != nil {
		t.Fatal(err)
	}

	// As a crash leaves it.
	crashed := filepath.Join(t.TempDir(), "a.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = sqldb.Open(t.Context(), crashed, table); err != nil {
		t.Fatal(err)
	}
	var count int
	err = db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&count)
	})
	if err != nil || count != 10 {
		t.Errorf("%d rows, %v", count, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
