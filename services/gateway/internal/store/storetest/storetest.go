// Package storetest makes a gateway's SQLite store one that has served for long,
// for tests and benchmarks that cannot wait until it has.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"telecodex.dev/services/internal/sqldb"
)

// Fill copies update 1 of the first generation, with its turn and its messages,
// count times, under the ids from first on: each with a session of its own out of
// sessions. The cursor moves past the last. Nobody else may have the store open.
func Fill(ctx context.Context, path string, first, count, sessions int) (err error) {
	db, err := sqldb.Connect(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	const turn = "bot_id || '-1-' || n || '-' || attempt"
	session := fmt.Sprintf("'telegram:' || (1 + n %% %d)", sessions)
	return db.Write(ctx, func(tx *sql.Tx) error {
		for _, c := range []copies{
			{"updates", "update_id = 1", map[string]string{"update_id": "n", "digest": "'digest ' || n", "message_id": "n", "session_id": session}},
			{"turns", "update_id = 1", map[string]string{"update_id": "n", "turn_id": turn, "session_id": session}},
			{"outbox", "update_id = 1", map[string]string{"update_id": "n", "outbox_id": "n", "turn_id": "bot_id || '-1-' || n || '-1'"}},
			{"sessions", fmt.Sprintf("n < %d AND session_id = (SELECT session_id FROM updates WHERE update_id = 1)", first+sessions),
				map[string]string{"session_id": session}},
		} {
			if err := c.insert(tx, first, count); err != nil {
				return fmt.Errorf("%s: %w", c.table, err)
			}
		}
		_, err := tx.Exec(`UPDATE cursors SET next_offset = ?`, first+count)
		return err
	})
}

// copies are rows of a table that differ from one of it in what changed says of n.
type copies struct {
	table, where string
	changed      map[string]string
}

func (c copies) insert(tx *sql.Tx, first, count int) error {
	var names string
	if err := tx.QueryRow(`SELECT group_concat(name, ',') FROM pragma_table_info(?)`, c.table).Scan(&names); err != nil {
		return err
	}
	values := strings.Split(names, ",")
	for i, name := range values {
		if changed, ok := c.changed[name]; ok {
			values[i] = changed
		}
	}
	_, err := tx.Exec(fmt.Sprintf(`WITH RECURSIVE seq(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM seq WHERE n < ?)
		INSERT OR IGNORE INTO %s (%s) SELECT %s FROM seq, %s WHERE %s`, c.table, names, strings.Join(values, ","), c.table, c.where),
		first, first+count-1)
	return err
}
