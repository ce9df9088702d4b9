package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Record is what the journal knows about a turn.
type Record struct {
	Row          int64 // place in the order of creation
	TurnID       string
	SessionID    string // empty for a tombstone
	AskedThread  string // empty: a new one was asked for
	ThreadID     string // empty until Codex named it
	Digest       Digest
	State        orchestratorv1.TurnState
	LastSequence uint64
	CreatedAt    time.Time
	StartedAt    time.Time // zero: not started
	FinishedAt   time.Time // zero: not ended
	Acknowledged bool
	Tombstone    bool
	Finished     *orchestratorv1.TurnEvent // nil: not ended
}

// NewTurn is a turn to be accepted.
type NewTurn struct {
	TurnID    string
	SessionID string
	ThreadID  string // to go on with; empty: a new one
	Digest    Digest
	Created   time.Time
}

const recordColumns = `id, turn_id, session_id, asked_thread_id, thread_id, digest, state, tombstone,
	coalesce(last_sequence, (SELECT (place & 0xffffffff) + count - 1 FROM segments
		WHERE place >= turns.id << 32 AND place < (turns.id + 1) << 32 ORDER BY place DESC LIMIT 1), 0),
	finished, created_at, coalesce(started_at, 0), coalesce(finished_at, 0), acknowledged_at IS NOT NULL`

func scanRecord(row interface{ Scan(...any) error }) (r Record, err error) {
	var state int32
	var digest, finished []byte
	var created, started, ended int64
	err = row.Scan(&r.Row, &r.TurnID, &r.SessionID, &r.AskedThread, &r.ThreadID, &digest, &state, &r.Tombstone, &r.LastSequence,
		&finished, &created, &started, &ended, &r.Acknowledged)
	if err != nil {
		return Record{}, err
	}
	copy(r.Digest[:], digest)
	r.State = orchestratorv1.TurnState(state)
	r.CreatedAt, r.StartedAt, r.FinishedAt = instant(created), instant(started), instant(ended)
	if finished != nil {
		r.Finished = &orchestratorv1.TurnEvent{}
		if err := proto.Unmarshal(finished, r.Finished); err != nil {
			return Record{}, fmt.Errorf("decode finished event: %w", err)
		}
	}
	return r, nil
}

func instant(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

func find(ctx context.Context, tx *sql.Tx, turnID string) (Record, error) {
	r, err := scanRecord(tx.QueryRowContext(ctx, "SELECT "+recordColumns+" FROM turns WHERE turn_id = ?", turnID))
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrUnknown
	}
	return r, err
}

// Get reads a turn. Errors: ErrUnknown.
func (j *Journal) Get(ctx context.Context, turnID string) (r Record, err error) {
	err = j.db.Read(ctx, func(tx *sql.Tx) error {
		r, err = find(ctx, tx, turnID)
		return err
	})
	return r, err
}

// Accept writes the row of a new turn and returns its open log once that is
// committed. An id that the journal already has is left as it is: then the log is
// nil and the record says what is known.
func (j *Journal) Accept(turn NewTurn) (r Record, log *Log, err error) {
	err = j.committer.call(func(tx *sql.Tx) error {
		r, err = insertTurn(tx, turn, false)
		if errors.Is(err, sql.ErrNoRows) {
			r, err = find(context.Background(), tx, turn.TurnID)
			return err
		}
		log = &Log{journal: j, row: r.Row}
		return err
	})
	if err != nil {
		return Record{}, nil, err
	}
	return r, log, nil
}

// Tombstone writes a turn that ended before it was ever asked to run; finished is
// its one event. An id that the journal already has is left as it is. The record
// says what is known after the commit.
func (j *Journal) Tombstone(finished *orchestratorv1.TurnEvent) (r Record, err error) {
	segments, err := encode([]*orchestratorv1.TurnEvent{finished})
	if err != nil {
		return Record{}, err
	}
	now := finished.GetOccurredAt().AsTime()
	err = j.committer.call(func(tx *sql.Tx) error {
		r, err = insertTurn(tx, NewTurn{TurnID: finished.GetTurnId(), Created: now}, true)
		if err == nil {
			update := Update{State: finished.GetFinished().GetState(), Finished: finished, FinishedAt: now}
			p := &pending{log: &Log{row: r.Row}, segments: segments, updates: []Update{update}}
			err = writeAppends(tx, []*pending{p})
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		r, err = find(context.Background(), tx, finished.GetTurnId())
		return err
	})
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

// insertTurn returns the record of the new row, sql.ErrNoRows when the journal has
// the id already. A row is never older than the one before it: turns that are
// accepted at once, or after a clock was set back, stay in the order in which they
// are listed.
func insertTurn(tx *sql.Tx, turn NewTurn, tombstone bool) (Record, error) {
	r := Record{
		TurnID: turn.TurnID, SessionID: turn.SessionID, AskedThread: turn.ThreadID, Digest: turn.Digest,
		State: orchestratorv1.TurnState_TURN_STATE_QUEUED, Tombstone: tombstone,
	}
	var created int64
	err := tx.QueryRow(`INSERT INTO turns (turn_id, session_id, asked_thread_id, digest, state, tombstone, created_at)
		VALUES (?, ?, ?, ?, ?, ?, max(?, coalesce((SELECT created_at FROM turns ORDER BY id DESC LIMIT 1), 0)))
		ON CONFLICT (turn_id) DO NOTHING RETURNING id, created_at`,
		r.TurnID, r.SessionID, r.AskedThread, r.Digest[:], int32(r.State), tombstone, turn.Created.UnixNano()).Scan(&r.Row, &created)
	r.CreatedAt = instant(created)
	return r, err
}

// Acknowledge notes that the caller has stored the outcome: Prune may drop the
// events. It is idempotent. Errors: ErrUnknown, ErrUnfinished.
func (j *Journal) Acknowledge(turnID string, now time.Time) error {
	return j.committer.call(func(tx *sql.Tx) error {
		done, err := tx.Exec("UPDATE turns SET acknowledged_at = ? WHERE turn_id = ? AND finished IS NOT NULL AND acknowledged_at IS NULL",
			now.UnixNano(), turnID)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); n == 1 || err != nil {
			return err
		}
		r, err := find(context.Background(), tx, turnID)
		if err == nil && r.Finished == nil {
			err = ErrUnfinished
		}
		return err
	})
}

// Page selects turns for List.
type Page struct {
	AfterRow           int64
	Limit              int // turns at most
	Bytes              int // and about so many bytes of finished events; at least one turn is returned
	UnacknowledgedOnly bool
}

// List reads turns in the order of their creation; more says whether the journal
// has further ones.
func (j *Journal) List(ctx context.Context, page Page) (records []Record, more bool, err error) {
	query := "SELECT " + recordColumns + " FROM turns WHERE id > ? ORDER BY id LIMIT ?"
	if page.UnacknowledgedOnly {
		query = "SELECT " + recordColumns + " FROM turns WHERE id > ? AND acknowledged_at IS NULL ORDER BY id LIMIT ?"
	}
	bytes := 0
	err = j.scan(ctx, query, func(r Record) bool {
		bytes += proto.Size(r.Finished)
		if len(records) == page.Limit || len(records) > 0 && bytes > page.Bytes {
			more = true
			return false
		}
		records = append(records, r)
		return true
	}, page.AfterRow, page.Limit+1)
	return records, more, err
}

// Unfinished reads the turns that have not ended, with their open logs. It is
// meant for the start, when nothing runs yet.
func (j *Journal) Unfinished(ctx context.Context) (records []Record, logs []*Log, err error) {
	// The second condition follows from the first, and there is an index for it.
	query := "SELECT " + recordColumns + " FROM turns WHERE finished IS NULL AND acknowledged_at IS NULL ORDER BY id"
	err = j.scan(ctx, query, func(r Record) bool {
		records = append(records, r)
		logs = append(logs, &Log{journal: j, row: r.Row, committed: r.LastSequence})
		return true
	})
	return records, logs, err
}

// scan reads records until use says no.
func (j *Journal) scan(ctx context.Context, query string, use func(Record) bool, args ...any) error {
	return j.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scanRecord(rows)
			if err != nil {
				return err
			}
			if !use(r) {
				return nil
			}
		}
		return rows.Err()
	})
}
