package journal

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"telecodex.dev/services/internal/sqldb"
)

// Session is what the journal knows about a session.
type Session struct {
	ID         string
	ThreadID   string // that Codex named last; empty: none
	LastTurnID string
	Running    bool // its last turn has not ended
}

// Sessions reads the journal at path, which a worker may use meanwhile: its id, and
// the sessions it knows, by their ids. Errors: fs.ErrNotExist; *sqldb.Error.
func Sessions(ctx context.Context, path string) (id string, all []Session, err error) {
	if _, err := os.Stat(path); err != nil {
		return "", nil, fmt.Errorf("journal: %w", err)
	}
	db, err := sqldb.Connect(ctx, path)
	if err != nil {
		return "", nil, fmt.Errorf("open journal: %w", err)
	}
	known := map[string]Session{}
	err = db.Read(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT id FROM journal").Scan(&id); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT session_id, turn_id, thread_id, finished IS NULL FROM turns WHERE tombstone = 0 ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s Session
			if err := rows.Scan(&s.ID, &s.LastTurnID, &s.ThreadID, &s.Running); err != nil {
				return err
			}
			s.ThreadID = cmp.Or(s.ThreadID, known[s.ID].ThreadID)
			known[s.ID] = s
		}
		return rows.Err()
	})
	for _, id := range slices.Sorted(maps.Keys(known)) {
		all = append(all, known[id])
	}
	return id, all, errors.Join(err, db.Close())
}
