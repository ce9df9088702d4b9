package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// UpdateName names an update in logs and traces: "{bot}-{generation}-{update}".
func UpdateName(botID int64, key Key) string {
	return fmt.Sprintf("%d-%d-%d", botID, key.Generation, key.UpdateID)
}

// TurnID names an attempt at an update: its name, "-" and the attempt.
func TurnID(botID int64, key Key, attempt int) string {
	return fmt.Sprintf("%s-%d", UpdateName(botID, key), attempt)
}

// parseTurnID is the inverse of TurnID for this bot's turns.
func (q *tx) parseTurnID(id string) (key Key, attempt int, ok bool) {
	parts := strings.Split(id, "-")
	if len(parts) != 4 || parts[0] != strconv.FormatInt(q.bot, 10) {
		return key, 0, false
	}
	var errs [3]error
	key.Generation, errs[0] = strconv.ParseInt(parts[1], 10, 64)
	key.UpdateID, errs[1] = strconv.ParseInt(parts[2], 10, 64)
	attempt, errs[2] = strconv.Atoi(parts[3])
	return key, attempt, errors.Join(errs[:]...) == nil && TurnID(q.bot, key, attempt) == id
}

const turnQuery = `SELECT t.turn_id, t.generation, t.update_id, t.attempt, t.session_id, u.chat_id, u.topic_id, u.message_id,
		u.private, u.kind, CASE t.prompt WHEN '' THEN u.text ELSE t.prompt END, t.state, t.thread_id, t.worker_id, t.journal_id, t.working_dir,
		t.outcome, t.error_code, t.error_message, t.input_tokens, t.cached_input_tokens, t.cache_write_input_tokens,
		t.output_tokens, t.reasoning_output_tokens, t.resolution, t.acknowledged_at, u.received_at, t.created_at, t.assigned_at, t.accepted_at,
		t.ended_at
	FROM turns t JOIN updates u ON u.bot_id = t.bot_id AND u.update_id = t.update_id AND u.generation = t.generation `

func readTurn(row scanner) (t Turn, err error) {
	var acknowledged, received, created, assigned, accepted, ended int64
	err = row.Scan(&t.ID, &t.Key.Generation, &t.Key.UpdateID, &t.Attempt, &t.SessionID, &t.ChatID, &t.TopicID, &t.MessageID,
		&t.Private, &t.Kind, &t.Prompt, &t.State, &t.ThreadID, &t.WorkerID, &t.JournalID, &t.WorkingDir,
		&t.Outcome, &t.ErrorCode, &t.ErrorMessage, &t.Usage.InputTokens, &t.Usage.CachedInputTokens, &t.Usage.CacheWriteInputTokens,
		&t.Usage.OutputTokens, &t.Usage.ReasoningOutputTokens, &t.Resolution, &acknowledged, &received, &created, &assigned, &accepted, &ended)
	t.Acknowledged = acknowledged > 0
	t.ReceivedAt, t.CreatedAt, t.AssignedAt = fromMillis(received), fromMillis(created), fromMillis(assigned)
	t.AcceptedAt, t.EndedAt = fromMillis(accepted), fromMillis(ended)
	return t, err
}

// firstTurn is the turn an update becomes before anything has happened to it.
func (q *tx) firstTurn(u Update) Turn {
	return Turn{ID: TurnID(q.bot, u.Key, 1), Key: u.Key, Attempt: 1, SessionID: u.SessionID, ChatID: u.ChatID, TopicID: u.TopicID,
		MessageID: u.MessageID, Private: u.Private, Kind: u.Kind, Prompt: u.Text, State: Queued, ReceivedAt: u.ReceivedAt,
		CreatedAt: u.ReceivedAt}
}

func (q *tx) update(key Key) (Update, bool, error) {
	return found(q, readUpdate, `SELECT `+updateColumns+` FROM updates WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
		q.bot, key.UpdateID, key.Generation)
}

// newestTurn is the last attempt at an update, if one has its row.
func (q *tx) newestTurn(key Key) (Turn, bool, error) {
	id, ok, err := found(q, readString, `SELECT turn_id FROM turns WHERE bot_id = $1 AND update_id = $2 AND generation = $3
		ORDER BY attempt DESC LIMIT 1`, q.bot, key.UpdateID, key.Generation)
	if err != nil || !ok {
		return Turn{}, false, err
	}
	return q.storedTurn(id)
}

// turnOf is the last attempt at an update.
func (q *tx) turnOf(u Update) (Turn, error) {
	t, ok, err := q.newestTurn(u.Key)
	if err == nil && !ok {
		t = q.firstTurn(u)
	}
	return t, err
}

// turn is the turn of an id. One that has only been shown by Load gets its row
// now.
func (q *tx) turn(id string) (Turn, error) {
	t, ok, err := q.storedTurn(id)
	if err != nil || ok {
		return t, err
	}
	missing := &StateError{What: "turn " + strconv.Quote(id)}
	key, attempt, ok := q.parseTurnID(id)
	if !ok || attempt != 1 {
		return t, missing
	}
	u, ok, err := q.update(key)
	if err != nil {
		return t, err
	}
	if !ok || workOf(u.Kind, u.State) != workLane {
		return t, missing
	}
	t = q.firstTurn(u)
	return t, q.insertTurn(t, "")
}

// step is what the steps of a turn go by: its names and its state, without what
// its update says.
func (q *tx) step(id string) (Turn, error) {
	t, ok, err := found(q, func(row scanner) (t Turn, err error) {
		t.ID = id
		return t, row.Scan(&t.Key.Generation, &t.Key.UpdateID, &t.SessionID, &t.State, &t.WorkerID, &t.Outcome, &t.ErrorCode)
	}, `SELECT generation, update_id, session_id, state, worker_id, outcome, error_code FROM turns
		WHERE turn_id = $1 AND bot_id = $2`, id, q.bot)
	if err != nil || ok {
		return t, err
	}
	return q.turn(id)
}

// insertTurn writes a waiting turn. prompt is empty where it is the update's
// own text.
func (q *tx) insertTurn(t Turn, prompt string) error {
	t.State, t.WorkerID, t.JournalID, t.WorkingDir, t.ThreadID = Queued, "", "", "", ""
	return q.exec(insertTurn, q.turnValues(t, prompt, false)...)
}

const insertTurn = `INSERT INTO turns (turn_id, bot_id, generation, update_id, attempt, session_id, prompt, state, thread_id,
		worker_id, journal_id, working_dir, pinned, outcome, error_code, error_message, input_tokens, cached_input_tokens,
		cache_write_input_tokens, output_tokens, reasoning_output_tokens, resolution, resolved_at, parked_at, created_at,
		assigned_at, accepted_at, ended_at, acknowledged_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', '', '', 0, 0, 0, 0, 0, '', 0, 0, $14, $15, 0, 0, 0)`

// turnValues are the parameters of insertTurn.
func (q *tx) turnValues(t Turn, prompt string, pinned bool) []any {
	assigned := int64(0)
	if t.State == Assigned {
		assigned = q.now
	}
	return []any{t.ID, q.bot, t.Key.Generation, t.Key.UpdateID, t.Attempt, t.SessionID, clean(prompt), t.State, t.ThreadID,
		t.WorkerID, t.JournalID, t.WorkingDir, flag(pinned), q.now, assigned}
}

// setUpdate moves an update to the state of its turn.
func (q *tx) setUpdate(key Key, kind Kind, state State) error {
	settled := int64(0)
	if state == Delivered || state == Interrupted || state == Dropped {
		settled = q.now
	}
	return q.exec(`UPDATE updates SET state = $4, work = $5, settled_at = $6
		WHERE bot_id = $1 AND update_id = $2 AND generation = $3`,
		q.bot, key.UpdateID, key.Generation, state, workOf(kind, state), settled)
}

// Turn is the turn of an id; false when it is not stored.
func (s *Store) Turn(ctx context.Context, turnID string) (t Turn, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error { t, ok, err = q.storedTurn(turnID); return err })
	return t, ok, err
}

// OpenSessions are the sessions with work in their lane.
func (s *Store) OpenSessions(ctx context.Context) (ids []string, err error) {
	err = s.read(ctx, func(q *tx) error {
		ids, err = collect(q, readString, `SELECT DISTINCT session_id FROM updates WHERE bot_id = $1 AND work = 'lane'
			ORDER BY session_id`, q.bot)
		return err
	})
	return ids, err
}

// Load reads what the lane of a session goes on from.
func (s *Store) Load(ctx context.Context, sessionID string) (l Lane, err error) {
	err = s.read(ctx, func(q *tx) error { l, err = q.lane(sessionID); return err })
	return l, err
}

func (q *tx) lane(sessionID string) (l Lane, err error) {
	if l.Turn, l.Found, err = q.head(sessionID); err != nil || !l.Found {
		return l, err
	}
	var since int64
	if l.Session, since, err = q.heldSession(sessionID); err != nil || l.Turn.State != Queued {
		return l, err
	}
	if l.Fresh, err = q.fresh(l.Turn, l.Session.ThreadID); err != nil || since == 0 {
		return l, err
	}
	chosen, err := q.chosen(l.Turn.Key)
	if err == nil && !chosen {
		l.HeldSince = fromMillis(since)
	}
	return l, err
}

// head is what a session's lane goes on with: the turn that runs, or else the
// oldest work, as its newest attempt. They differ once a person decided about an
// older turn while a newer one runs.
func (q *tx) head(sessionID string) (t Turn, ok bool, err error) {
	if t, ok, err = q.running(sessionID); err != nil || ok {
		return t, ok, err
	}
	u, ok, err := found(q, readUpdate, `SELECT `+updateColumns+` FROM updates
		WHERE bot_id = $1 AND session_id = $2 AND work = 'lane' ORDER BY generation, update_id LIMIT 1`, q.bot, sessionID)
	if err != nil || !ok {
		return t, false, err
	}
	t, err = q.turnOf(u)
	return t, err == nil, err
}

// OpenWork is the work of a session's lane, in its order: prompts and requests
// for a new thread that wait or run.
func (s *Store) OpenWork(ctx context.Context, sessionID string) (updates []Update, err error) {
	err = s.read(ctx, func(q *tx) error {
		updates, err = collect(q, readUpdate, `SELECT `+updateColumns+` FROM updates
			WHERE bot_id = $1 AND session_id = $2 AND work = 'lane' ORDER BY generation, update_id`, q.bot, sessionID)
		return err
	})
	return updates, err
}

// RunningTurn is the turn of a session that has a worker and has not ended.
func (s *Store) RunningTurn(ctx context.Context, sessionID string) (t Turn, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error { t, ok, err = q.running(sessionID); return err })
	return t, ok, err
}

// running looks for the id first: mostly there is none, and a whole turn is wide.
func (q *tx) running(sessionID string) (Turn, bool, error) {
	id, ok, err := found(q, readString, `SELECT turn_id FROM turns
		WHERE bot_id = $1 AND session_id = $2 AND ended_at = 0 AND state <> 'QUEUED' LIMIT 1`, q.bot, sessionID)
	if err != nil || !ok {
		return Turn{}, false, err
	}
	return q.storedTurn(id)
}

func (q *tx) storedTurn(id string) (Turn, bool, error) {
	return found(q, readTurn, turnQuery+`WHERE t.turn_id = $1 AND t.bot_id = $2`, id, q.bot)
}

// InterruptedTurn is the newest turn of a session that waits for a person's
// decision.
func (s *Store) InterruptedTurn(ctx context.Context, sessionID string) (t Turn, ok bool, err error) {
	err = s.read(ctx, func(q *tx) error {
		t, ok, err = found(q, readTurn, turnQuery+`WHERE t.bot_id = $1 AND t.session_id = $2 AND t.state = 'INTERRUPTED'
			AND t.resolution = '' ORDER BY t.ended_at DESC, t.generation DESC, t.update_id DESC LIMIT 1`, q.bot, sessionID)
		return err
	})
	return t, ok, err
}

// Unacknowledged are the turns whose outcome is stored here and whose worker was
// not told so yet, oldest first.
func (s *Store) Unacknowledged(ctx context.Context) (turns []Turn, err error) {
	err = s.read(ctx, func(q *tx) error {
		turns, err = collect(q, readTurn, turnQuery+`WHERE t.bot_id = $1 AND t.ended_at > 0 AND t.acknowledged_at = 0
			AND t.worker_id <> '' ORDER BY t.ended_at`, q.bot)
		return err
	})
	return turns, err
}

// Acknowledged notes that the worker of an ended turn may drop its events.
func (s *Store) Acknowledged(ctx context.Context, turnID string) error {
	return s.write(ctx, func(q *tx) error {
		ok, err := q.changed(`UPDATE turns SET acknowledged_at = CASE acknowledged_at WHEN 0 THEN $3 ELSE acknowledged_at END
			WHERE turn_id = $1 AND bot_id = $2 AND ended_at > 0`, turnID, q.bot, q.now)
		if err != nil || ok {
			return err
		}
		have, err := readString(q.row(`SELECT state FROM turns WHERE turn_id = $1 AND bot_id = $2`, turnID, q.bot))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return &StateError{What: "turn " + turnID, Want: "ended", Have: have}
	})
}
