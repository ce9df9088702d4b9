package store

import (
	"database/sql"
	"errors"
	"strings"
	"time"
)

// tx is a transaction on a bot's part of the database.
type tx struct {
	*sql.Tx
	bot int64
	now int64 // unix milliseconds
}

func (q *tx) exec(query string, args ...any) error {
	_, err := q.Exec(query, args...)
	return err
}

// changed runs a statement and says whether it changed a row.
func (q *tx) changed(query string, args ...any) (bool, error) {
	res, err := q.Exec(query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (q *tx) row(query string, args ...any) *sql.Row { return q.QueryRow(query, args...) }

// scanner is a row that can be read.
type scanner interface{ Scan(dest ...any) error }

// collect reads every row of a query.
func collect[T any](q *tx, read func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := read(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// found reads the one row of a query, if there is one.
func found[T any](q *tx, read func(scanner) (T, error), query string, args ...any) (T, bool, error) {
	one, err := read(q.row(query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		var none T
		return none, false, nil
	}
	return one, err == nil, err
}

func readString(row scanner) (s string, err error) { return s, row.Scan(&s) }

func readInt64(row scanner) (n int64, err error) { return n, row.Scan(&n) }

// millis is a time as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// clean makes a text storable everywhere: PostgreSQL takes neither NUL nor what
// is not UTF-8.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
