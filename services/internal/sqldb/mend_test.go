package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"telecodex.dev/services/internal/sqldb"
)

var letters = fstest.MapFS{
	"0001_letters.sql": {Data: []byte(`CREATE TABLE letters (id BIGINT NOT NULL, body TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (id));
		CREATE TABLE parts (id BIGINT NOT NULL, content BYTEA NOT NULL, PRIMARY KEY (id), FOREIGN KEY (id) REFERENCES letters (id));
		CREATE INDEX letters_at ON letters (at); INSERT INTO letters VALUES (-1, 'made with the table', 0)`)},
	"0002_more.sql": {Data: []byte(`ALTER TABLE letters ADD COLUMN more TEXT NOT NULL DEFAULT ''`)},
}

const (
	pageSize = 4096
	sent     = 2000 // letters
)

// mailbox is a database with letters and parts, which nobody has open; some rows
// were removed, so that there are free pages.
type mailbox struct {
	t    *testing.T
	path string
}

func newMailbox(t *testing.T) mailbox {
	t.Helper()
	m := mailbox{t, filepath.Join(t.TempDir(), "x.db")}
	once.Do(func() { filled = m.fill() })
	m.write(filled)
	return m
}

// filled is the content of every mailbox.
var (
	once   sync.Once
	filled []byte
)

func (m mailbox) fill() []byte {
	m.with(func(ctx context.Context, tx *sql.Tx) error {
		for i := range sent + 1000 {
			if _, err := tx.ExecContext(ctx, "INSERT INTO letters (id, body, at) VALUES ($1, $2, $3)", i, fmt.Sprint(i, strings.Repeat(" word", 20)), sent-i); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO parts VALUES ($1, $2)", i, bytes.Repeat([]byte{byte(i)}, 20)); err != nil {
				return err
			}
		}
		return nil
	})
	m.with(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM parts WHERE id >= %d; DELETE FROM letters WHERE id >= %d", sent, sent))
		return err
	})
	return m.read()
}

func (m mailbox) with(fn func(context.Context, *sql.Tx) error) {
	m.t.Helper()
	db, err := sqldb.Open(m.t.Context(), m.path, sqldb.Migrations{Files: letters})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := db.Write(m.t.Context(), func(tx *sql.Tx) error { return fn(m.t.Context(), tx) }); err != nil {
		m.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// state is everything that a program can know of the database.
func (m mailbox) state() (text string) {
	m.t.Helper()
	m.with(func(ctx context.Context, tx *sql.Tx) error {
		for _, query := range []string{
			"SELECT count(*) || ' ' || sum(id) || ' ' || sum(length(body)) || ' ' || count(more) FROM letters NOT INDEXED", "SELECT count(*) || ' ' || sum(id) || hex(max(content)) FROM parts",
			"SELECT count(*) || ' ' || min(at) FROM letters WHERE at > 5", "SELECT group_concat(sql) FROM sqlite_schema", "PRAGMA integrity_check", "PRAGMA foreign_key_check",
			"PRAGMA user_version", "PRAGMA journal_mode",
		} {
			var part string
			if err := tx.QueryRowContext(ctx, query).Scan(&part); err != nil && err != sql.ErrNoRows {
				return err
			}
			text += part + "\n"
		}
		return nil
	})
	return text
}

// pages are the pages of a tree, by what they are: 2 and 10 hold an index, 5 and 13
// a table; 0: free ones.
func (m mailbox) pages(tree string, kind byte) (numbers []int) {
	m.t.Helper()
	m.with(func(ctx context.Context, tx *sql.Tx) error {
		query := "SELECT pageno FROM dbstat WHERE name = $1 ORDER BY pageno"
		rows, err := tx.QueryContext(ctx, query, tree)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		return rows.Err()
	})
	content := m.read()
	return slices.DeleteFunc(numbers, func(n int) bool { return content[(n-1)*pageSize] != kind })
}

func (m mailbox) read() []byte {
	m.t.Helper()
	content, err := os.ReadFile(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	return content
}

// overwrite damages a page from an offset on.
func (m mailbox) overwrite(page, from int, with byte) {
	m.t.Helper()
	content := m.read()
	copy(content[(page-1)*pageSize+from:page*pageSize], bytes.Repeat([]byte{with}, pageSize-from))
	m.write(content)
}

func (m mailbox) write(content []byte) {
	m.t.Helper()
	if err := os.WriteFile(m.path, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m mailbox) mend() (sqldb.Mended, error) {
	return sqldb.Mend(m.t.Context(), m.path, sqldb.Migrations{Files: letters}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

func middle(pages []int) int { return pages[len(pages)/2] }

// TestDamageThatTookNoRowIsMended damages what is made from rows, and what holds
// none.
func TestDamageThatTookNoRowIsMended(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(mailbox){
		"nothing at all":            func(mailbox) {},
		"a leaf of an index":        func(m mailbox) { m.overwrite(middle(m.pages("letters_at", 10)), 0, 0x5a) },
		"a leaf of a key":           func(m mailbox) { m.overwrite(middle(m.pages("sqlite_autoindex_letters_1", 10)), 0, 0) },
		"the root of an index":      func(m mailbox) { m.overwrite(m.pages("letters_at", 2)[0], 0, 0xff) },
		"an index that lacks rows":  func(m mailbox) { m.shorten(middle(m.pages("letters_at", 10))) },
		"the list of free pages":    func(m mailbox) { m.overwrite(m.firstFree(), 0, 0x5a) },
		"a count of the free pages": func(m mailbox) { c := m.read(); c[39] ^= 0x11; m.write(c) },
		"every index and free page": func(m mailbox) {
			for _, tree := range []string{"letters_at", "sqlite_autoindex_letters_1", "sqlite_autoindex_parts_1"} {
				for _, page := range append(m.pages(tree, 10), m.pages(tree, 2)...) {
					defer m.overwrite(page, 0, 0xa5)
				}
			}
			m.overwrite(m.firstFree(), 0, 0x5a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMailbox(t)
			before := m.state()
			damage(m)
			broken := m.read()
			mended, err := m.mend()
			if err != nil || mended.Rows != 2*sent+1 {
				t.Fatalf("Mend() = %+v, %v", mended, err)
			}
			if after := m.state(); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
			kept, err := os.ReadFile(mended.Kept)
			if err != nil || !sameButForCounters(kept, broken) || mended.Kept != m.path+".damaged-20260301T120000.000Z" {
				t.Errorf("what is kept in %s is not what was there (%v)", mended.Kept, err)
			}
			m.leavesNothing(mended.Kept)
			if n := sqldb.Kept(m.path); n != 1 {
				t.Errorf("%d are kept", n)
			}
		})
	}
}

func TestWhatIsKeptIsCountedUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "[x].db")
	count := func(want int, files ...string) {
		t.Helper()
		for _, f := range files {
			if err := os.WriteFile(f, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n := sqldb.Kept(path); n != want {
			t.Errorf("%d are kept, want %d", n, want)
		}
	}
	count(0, path, path+"-wal", path+".damaged-", path+".damaged-x", filepath.Join(filepath.Dir(path), "y.db.damaged-20260301T120000.000Z"))
	one := sqldb.Aside(path, time.Now())
	count(1, one, one+"-wal", one+"-shm")
	count(2, sqldb.Aside(path, time.Now().Add(time.Hour)))
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	count(1)
	if n := sqldb.Kept(filepath.Join(path, "none", "x.db")); n != 0 {
		t.Errorf("%d are kept in a directory that is not there", n)
	}
}

// sameButForCounters compares two databases page by page, but for the first: its
// counters of changes are the copy's own.
func sameButForCounters(a, b []byte) bool {
	return len(a) == len(b) && bytes.Equal(a[pageSize:], b[pageSize:])
}

// firstFree is the first page of the list of free pages.
func (m mailbox) firstFree() int { return int(binary.BigEndian.Uint32(m.read()[32:])) }

// shorten has a leaf forget half of its entries, as one that was not written would.
func (m mailbox) shorten(page int) {
	m.t.Helper()
	content := m.read()
	cells := content[(page-1)*pageSize+3:]
	binary.BigEndian.PutUint16(cells, binary.BigEndian.Uint16(cells)/2)
	m.write(content)
}

// leavesNothing fails when there is more than the database, and what was kept.
func (m mailbox) leavesNothing(but ...string) {
	m.t.Helper()
	all, err := filepath.Glob(m.path + "*")
	if err != nil {
		m.t.Fatal(err)
	}
	want := append([]string{m.path}, but...)
	if slices.Sort(want); !slices.Equal(all, want) {
		m.t.Errorf("there are %q, want %q", all, want)
	}
}

// TestDamageThatMayHaveTakenRowsIsLeftAlone damages rows: nothing goes on without
// them.
func TestDamageThatMayHaveTakenRowsIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(mailbox){
		"a leaf of a table":            func(m mailbox) { m.overwrite(middle(m.pages("letters", 13)), 0, 0x5a) },
		"a leaf of zeros":              func(m mailbox) { m.overwrite(middle(m.pages("parts", 13)), 0, 0) },
		"the end of a leaf":            func(m mailbox) { m.overwrite(middle(m.pages("letters", 13)), pageSize-512, 0) },
		"the end of a leaf, and noise": func(m mailbox) { m.overwrite(middle(m.pages("letters", 13)), pageSize-512, 0xff) },
		"a leaf that lacks rows":       func(m mailbox) { m.shorten(middle(m.pages("letters", 13))) },
		"the root of a table":          func(m mailbox) { m.overwrite(m.pages("letters", 5)[0], 0, 0xff) },
		"a page in place of another": func(m mailbox) {
			leaves, content := m.pages("letters", 13), m.read()
			copy(content[(leaves[3]-1)*pageSize:leaves[3]*pageSize], content[(leaves[2]-1)*pageSize:])
			m.write(content)
		},
		"a parent that is gone":  func(m mailbox) { m.shorten(m.pages("letters", 13)[0]) },
		"the header":             func(m mailbox) { m.overwrite(1, 0, 0x5a) },
		"the schema":             func(m mailbox) { m.overwrite(1, 100, 0) },
		"the schema's number":    func(m mailbox) { c := m.read(); copy(c[60:64], make([]byte, 4)); m.write(c) },
		"the end of the file":    func(m mailbox) { c := m.read(); m.write(c[:len(c)/2/pageSize*pageSize]) },
		"another program's file": func(m mailbox) { m.write([]byte(strings.Repeat("this is a diary; ", 1000))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMailbox(t)
			damage(m)
			broken := m.read()
			if mended, err := m.mend(); sqldb.KindOf(err) != sqldb.Corrupt {
				t.Errorf("Mend() = %+v, %v", mended, err)
			}
			if !bytes.Equal(m.read(), broken) {
				t.Error("it was changed")
			}
			m.leavesNothing()
		})
	}
}

// TestNobodyElseHasTheFileWhileItIsMended has another connection open it, as
// another process would.
func TestNobodyElseHasTheFileWhileItIsMended(t *testing.T) {
	t.Parallel()
	m := newMailbox(t)
	other := open(t, m.path, letters)
	before := m.read()
	if _, err := m.mend(); sqldb.KindOf(err) != sqldb.Busy {
		t.Errorf("Mend() = %v", err)
	}
	if !bytes.Equal(m.read(), before) {
		t.Error("it was changed")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	// What a process left that died at it is in nobody's way.
	if err := os.WriteFile(m.path+".mending", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	mended, err := m.mend()
	if err != nil || mended.Rows != 2*sent+1 {
		t.Errorf("Mend() = %+v, %v", mended, err)
	}
	m.leavesNothing(mended.Kept)
}

// TestWhatTheLogHoldsIsKept mends a database whose last process was killed: its
// newest rows are in the write-ahead log alone.
func TestWhatTheLogHoldsIsKept(t *testing.T) {
	t.Parallel()
	m := newMailbox(t)
	leaf := middle(m.pages("letters_at", 10))
	db := open(t, m.path, letters)
	if err := db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO letters (id, body, at) VALUES (5000, 'the newest', 9)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	killed := mailbox{t, filepath.Join(t.TempDir(), "x.db")}
	for _, part := range []string{"", "-wal"} {
		content, err := os.ReadFile(m.path + part)
		if err != nil || len(content) == 0 {
			t.Fatal(len(content), err)
		}
		if err := os.WriteFile(killed.path+part, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	killed.overwrite(leaf, 0, 0x5a)
	mended, err := killed.mend()
	if err != nil || mended.Rows != 2*sent+2 {
		t.Errorf("Mend() = %+v, %v", mended, err)
	}
	if n := countIn(t, killed, "SELECT count(*) FROM letters WHERE at = 9 AND body = 'the newest'"); n != 1 {
		t.Errorf("the newest row is there %d times", n)
	}
}

func countIn(t *testing.T, m mailbox, query string) (n int) {
	t.Helper()
	m.with(func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, query).Scan(&n) })
	return n
}
