package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"
)

// Mended says what was mended.
type Mended struct {
	Rows int    // of all tables: every one there was
	Kept string // the copy of the file as it was, damage and all
}

// Mend makes a damaged SQLite file sound again, if every row of every table can
// still be read: then the damage is in what is made from rows, such as indexes, or
// in pages that hold nothing. The rows are read into a new file, which is then
// copied over the old one in one transaction: a crash leaves the file as it was or
// mended. Nobody else may have it open, in this process or another, and nobody can
// open it meanwhile. What was there is kept beside it.
//
// A row that cannot be read may be a message or an outcome; to go on without it
// could lose the one or repeat the other. Then, and whenever the rows contradict
// the schema or an index, the file keeps every row that it has, and the error is of
// kind Corrupt. Kind Busy: another process has the file open.
func Mend(ctx context.Context, path string, migrations Migrations, now time.Time) (m Mended, err error) {
	fresh := path + ".mending"
	if err := remove(fresh); err != nil { // of a process that died at it
		return m, &Error{Op: mending, Kind: kindOfFile(err), Err: err}
	}
	defer func() {
		if left := remove(fresh); err == nil && left != nil {
			err = &Error{Op: mending, Kind: kindOfFile(left), Err: left}
		}
	}()
	damaged, err := alone(ctx, path)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, damaged.Close()) }()
	one, err := damaged.Conn(ctx)
	if err != nil {
		return m, Wrap(mending, err)
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	if m.Rows, err = salvage(ctx, one, fresh, migrations); err != nil {
		return m, Wrap(mending, err)
	}
	kept := Aside(path, now)
	if err := keep(one, kept); err != nil {
		return m, errors.Join(Wrap(mending, err), remove(kept))
	}
	if err := one.Raw(func(c any) error { return copyPages(c.(*conn).sqliteConn.(copier).NewRestore, fresh) }); err != nil {
		return m, errors.Join(Wrap(mending, err), remove(kept))
	}
	m.Kept = kept
	return m, nil
}

// Parts are the ends of the names of the files that a database at a path is made of,
// itself first.
var Parts = [...]string{"", "-wal", "-shm"}

// Aside is where a damaged database at path is kept.
func Aside(path string, now time.Time) string {
	return path + aside + now.UTC().Format(asideAt)
}

// What the name of a damaged database that is kept adds to its own.
const (
	aside   = ".damaged-"
	asideAt = "20060102T150405.000Z"
)

// Kept counts the damaged databases that are kept beside the one at path: each until
// somebody removes it. 0 where the directory cannot be read.
func Kept(path string) (n int) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		if at, ok := strings.CutPrefix(entry.Name(), filepath.Base(path)+aside); ok {
			if _, err := time.Parse(asideAt, at); err == nil { // not what belongs to one
				n++
			}
		}
	}
	return n
}

// keep copies a database as it is.
func keep(one *sql.Conn, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600) // SQLite would make it with the umask's mode
	if err != nil {
		return &Error{Op: mending, Kind: kindOfFile(err), Err: err}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return one.Raw(func(c any) error { return copyPages(c.(*conn).sqliteConn.(copier).NewBackup, path) })
}

const mending = "mend"

// mendPatience is how long Mend waits for others who have the file open.
const mendPatience = 2 * time.Second

// alone opens a database with one connection, which has the file for itself from
// now on.
func alone(ctx context.Context, path string) (*sql.DB, error) {
	db := sql.OpenDB(connector{dsn: dsn(path, fmt.Sprintf("busy_timeout(%d)", mendPatience.Milliseconds()), "locking_mode(EXCLUSIVE)", "synchronous(FULL)")})
	db.SetMaxOpenConns(1)
	for _, statement := range []string{"BEGIN EXCLUSIVE", "COMMIT"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(Wrap(mending, err), db.Close())
		}
	}
	return db, nil
}

// copier is the driver's way to copy all pages of a database, sound or not.
type copier interface {
	NewBackup(to string) (*sqlite.Backup, error)
	NewRestore(from string) (*sqlite.Backup, error)
}

// copyPages copies all pages in one transaction of the database that is written.
func copyPages(begin func(string) (*sqlite.Backup, error), path string) error {
	pages, err := begin(dsn(path))
	if err != nil {
		return err
	}
	_, err = pages.Step(-1)
	return errors.Join(err, pages.Finish())
}

// remove removes a database and what belongs to it.
func remove(path string) error {
	var errs []error
	for _, part := range Parts {
		if err := os.Remove(path + part); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// salvage reads every row of a database into a new file of the same schema, and
// counts them.
func salvage(ctx context.Context, from *sql.Conn, path string, m Migrations) (rows int, err error) {
	var version int
	if err := from.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	names, err := m.names()
	switch {
	case err != nil:
		return 0, err
	case version > len(names):
		return 0, &SchemaError{File: version, Program: len(names)}
	case version == 0:
		return 0, unsound("it does not say which schema it has")
	}
	to, err := Open(ctx, path, Migrations{Files: someFiles{m.Files, names[:version]}})
	if err != nil {
		return 0, err
	}
	err = to.Write(ctx, func(tx *sql.Tx) error {
		tables, err := emptyTables(ctx, tx)
		for i := 0; err == nil && i < len(tables); i++ {
			var n int
			n, err = readTable(ctx, from, tx, tables[i])
			rows += n
		}
		return err
	})
	if err != nil && ctx.Err() == nil && KindOf(err) == Other { // two rows of one key, or one without its parent
		err = &Error{Op: mending, Kind: Corrupt, Err: err}
	}
	return rows, errors.Join(err, to.Close())
}

func unsound(format string, args ...any) error {
	return &Error{Op: mending, Kind: Corrupt, Err: fmt.Errorf(format, args...)}
}

// someFiles are some files of a file system.
type someFiles struct {
	fs.FS
	names []string
}

// Glob implements fs.GlobFS.
func (s someFiles) Glob(string) ([]string, error) { return s.names, nil }

// table is a table of the new file.
type table struct {
	name    string
	columns []string
	types   []string // as they are declared
	keys    []string // its indexes that have an entry for every row
}

// emptyTables are the tables of the new file, without the rows that migrations put
// there. Rows come in any order.
func emptyTables(ctx context.Context, tx *sql.Tx) (tables []table, err error) {
	if _, err := tx.ExecContext(ctx, "PRAGMA defer_foreign_keys = ON"); err != nil {
		return nil, err
	}
	names, err := texts(ctx, tx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	for _, name := range names {
		t := table{name: name}
		if t.columns, err = texts(ctx, tx, "SELECT name FROM pragma_table_info($1) ORDER BY cid", name); err != nil {
			return nil, err
		}
		if t.types, err = texts(ctx, tx, "SELECT upper(type) FROM pragma_table_info($1) ORDER BY cid", name); err != nil {
			return nil, err
		}
		if t.keys, err = texts(ctx, tx, "SELECT name FROM pragma_index_list($1) WHERE partial = 0 ORDER BY seq", name); err != nil {
			return nil, err
		}
		if _, err = tx.ExecContext(ctx, "DELETE FROM "+quote(name)); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, err
}

func texts(ctx context.Context, tx *sql.Tx, query string, args ...any) (all []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// readTable copies the rows of a table, by the table alone, and has its indexes
// witness that there are no more.
func readTable(ctx context.Context, from *sql.Conn, tx *sql.Tx, t table) (n int, err error) {
	columns := make([]string, len(t.columns))
	for i, column := range t.columns {
		columns[i] = quote(column)
	}
	list := strings.Join(columns, ", ")
	insert, err := tx.PrepareContext(ctx, "INSERT INTO "+quote(t.name)+" ("+list+") VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	rows, err := from.QueryContext(ctx, "SELECT rowid, "+list+" FROM "+quote(t.name)+" NOT INDEXED ORDER BY rowid")
	if err != nil {
		return 0, unsound("table %s cannot be read: %w", t.name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n, err = copyRows(ctx, rows, insert, t)
	if err != nil {
		return n, err
	}
	if err := rows.Close(); err != nil {
		return n, err
	}
	for _, key := range t.keys {
		var known int
		// An index that cannot be read bears no witness: it may be what is damaged.
		err := from.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT rowid FROM "+quote(t.name)+" INDEXED BY "+quote(key)+")").Scan(&known)
		if err == nil && known > n {
			return n, unsound("table %s has %d rows, and an index of it knows %d", t.name, n, known)
		}
	}
	return n, nil
}

// copyRows copies rows as long as they make sense.
func copyRows(ctx context.Context, rows *sql.Rows, insert *sql.Stmt, t table) (n int, err error) {
	values := make([]any, len(t.columns)+1)
	pointers := make([]any, len(values))
	for i := range values {
		pointers[i] = &values[i]
	}
	last := int64(-1 << 63)
	for ; rows.Next(); n++ {
		if err := rows.Scan(pointers...); err != nil {
			return n, unsound("a row of table %s cannot be read", t.name)
		}
		id, ok := values[0].(int64)
		if !ok || (n > 0 && id <= last) {
			return n, unsound("the rows of table %s are out of order", t.name)
		}
		last = id
		for i, kind := range t.types {
			if !fits(values[i+1], kind) {
				return n, unsound("column %s of table %s holds what it cannot hold", t.columns[i], t.name)
			}
		}
		if _, err := insert.ExecContext(ctx, values[1:]...); err != nil {
			return n, err
		}
	}
	if err := rows.Err(); err != nil {
		return n, unsound("not every row of table %s can be read: %w", t.name, err)
	}
	return n, nil
}

// fits says whether a value may be of a declared type. What a fault of a disk
// leaves, often zeros, seldom is; NULL is judged by the schema.
func fits(value any, kind string) bool {
	switch v := value.(type) {
	case int64:
		return strings.Contains(kind, "INT")
	case string:
		return kind == "TEXT" && utf8.ValidString(v) && !strings.Contains(v, "\x00")
	case []byte:
		return strings.HasPrefix(kind, "B") && !strings.Contains(kind, "INT")
	}
	return value == nil
}
