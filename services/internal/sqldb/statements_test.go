package sqldb_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

func TestTheSameQueryMayBeOpenTwice(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		for i := range 3 {
			if err := insert(t.Context(), fmt.Sprint(i))(tx); err != nil {
				return err
			}
		}
		const query = "SELECT body FROM notes ORDER BY id"
		read := func(inner func()) (all string) {
			rows, err := tx.QueryContext(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for rows.Next() {
				var body string
				if err := rows.Scan(&body); err != nil {
					t.Fatal(err)
				}
				all += body
				inner()
			}
			return all
		}
		for range 3 {
			if got := read(func() {
				if got := read(func() {}); got != "012" {
					t.Errorf("inner query: %q", got)
				}
			}); got != "012" {
				t.Errorf("outer query: %q", got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatementsSurviveFailuresAndManyTexts(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	for i := range 600 {
		err := db.Write(t.Context(), func(tx *sql.Tx) error {
			text := fmt.Sprintf("INSERT INTO notes (id, body) VALUES ($1, 'number %d')", i)
			_, err := tx.ExecContext(t.Context(), text, i/2)
			return err
		})
		if (i%2 == 1) != (err != nil) { // every second one repeats a key
			t.Fatalf("statement %d: %v", i, err)
		}
		var body string
		err = db.Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), "SELECT body FROM notes WHERE id = $1", i/2).Scan(&body)
		})
		if want := fmt.Sprint("number ", i/2*2); err != nil || body != want {
			t.Fatalf("row %d is %q, %v", i/2, body, err)
		}
	}
}
