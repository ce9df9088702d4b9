package store

import "context"

const (
	sessionColumns = `SELECT s.session_id, s.chat_id, s.topic_id, s.thread_id, s.worker_id, s.journal_id, s.input_tokens,
		s.cached_input_tokens, s.cache_write_input_tokens, s.output_tokens, s.reasoning_output_tokens, s.updated_at, `
	sessionQuery = sessionColumns + `
		(SELECT count(*) FROM updates u WHERE u.bot_id = s.bot_id AND u.session_id = s.session_id AND u.work = 'lane')
	FROM sessions s `
	// uncountedQuery leaves out how many turns are open: a lane may be long.
	uncountedQuery = sessionColumns + `0 FROM sessions s `
	// heldQuery has in that place since when its lane is held back.
	heldQuery = sessionColumns + `
		(SELECT COALESCE(MAX(t.ended_at), 0) FROM turns t WHERE t.bot_id = s.bot_id AND t.session_id = s.session_id
			AND t.state = 'INTERRUPTED' AND t.resolution = '' AND t.parked_at = 0)
	FROM sessions s `
)

func readSession(row scanner) (s Session, err error) {
	err = scanSession(row, &s, &s.OpenTurns)
	return s, err
}

func scanSession(row scanner, s *Session, last any) error {
	var updated int64
	err := row.Scan(&s.ID, &s.ChatID, &s.TopicID, &s.ThreadID, &s.WorkerID, &s.JournalID, &s.Usage.InputTokens,
		&s.Usage.CachedInputTokens, &s.Usage.CacheWriteInputTokens, &s.Usage.OutputTokens, &s.Usage.ReasoningOutputTokens,
		&updated, last)
	s.UpdatedAt = fromMillis(updated)
	return err
}

// session is a session without the count of its open turns.
func (q *tx) session(id string) (Session, error) { return q.findSession(uncountedQuery, id) }

func (q *tx) findSession(query, id string) (Session, error) {
	s, ok, err := found(q, readSession, query+`WHERE s.bot_id = $1 AND s.session_id = $2`, q.bot, id)
	if !ok {
		s.ID = id
	}
	return s, err
}

// Session is a conversation; one that is not stored has an id and nothing else.
func (s *Store) Session(ctx context.Context, id string) (sess Session, err error) {
	err = s.read(ctx, func(q *tx) error { sess, err = q.findSession(sessionQuery, id); return err })
	return sess, err
}

// ListSessions is a page of at most pageSize sessions, by id, after the given
// one; empty: from the beginning.
func (s *Store) ListSessions(ctx context.Context, pageSize int, after string) (page []Session, err error) {
	err = s.read(ctx, func(q *tx) error {
		page, err = collect(q, readSession, sessionQuery+`WHERE s.bot_id = $1 AND s.session_id > $2
			ORDER BY s.session_id LIMIT $3`, q.bot, after, pageSize)
		if err != nil {
			return err
		}
		return q.latestMoves(page)
	})
	return page, err
}

// pin notes which worker, and which journal of it, has a session; at another one
// nothing of it has run yet. Mostly it is known, and nothing is written.
func (q *tx) pin(sessionID, workerID, journalID string) error {
	return q.exec(`UPDATE sessions SET worker_id = $3, journal_id = $4, updated_at = $5,
			last_turn_id = CASE worker_id WHEN $3 THEN last_turn_id ELSE '' END
		WHERE bot_id = $1 AND session_id = $2 AND (worker_id <> $3 OR journal_id <> $4)`,
		q.bot, sessionID, workerID, journalID, q.now)
}

// setThread notes the Codex thread of a session; tokens are counted anew in
// another one.
func (q *tx) setThread(sess Session, threadID string) error {
	if sess.ThreadID == threadID {
		return nil
	}
	sess.Usage = Usage{}
	if err := q.setUsage(sess.ID, Usage{}); err != nil {
		return err
	}
	return q.exec(`UPDATE sessions SET thread_id = $3, updated_at = $4 WHERE bot_id = $1 AND session_id = $2`,
		q.bot, sess.ID, threadID, q.now)
}

func (q *tx) setUsage(sessionID string, u Usage) error {
	return q.exec(`UPDATE sessions SET input_tokens = $3, cached_input_tokens = $4, cache_write_input_tokens = $5,
			output_tokens = $6, reasoning_output_tokens = $7, updated_at = $8
		WHERE bot_id = $1 AND session_id = $2`, q.bot, sessionID, u.InputTokens, u.CachedInputTokens, u.CacheWriteInputTokens,
		u.OutputTokens, u.ReasoningOutputTokens, q.now)
}

// ranLast notes the turn that has run last in its session, or may have.
func (q *tx) ranLast(t Turn) error {
	return q.exec(`UPDATE sessions SET last_turn_id = $3 WHERE bot_id = $1 AND session_id = $2`, q.bot, t.SessionID, t.ID)
}

// forget clears the thread of a session and its pin.
func (q *tx) forget(sessionID string) error {
	if err := q.setThread(Session{ID: sessionID, ThreadID: "unknown"}, ""); err != nil {
		return err
	}
	return q.pin(sessionID, "", "")
}

// since is what was used between two reports of a thread's usage.
func (u Usage) since(before Usage) Usage {
	d := Usage{u.InputTokens - before.InputTokens, u.CachedInputTokens - before.CachedInputTokens,
		u.CacheWriteInputTokens - before.CacheWriteInputTokens, u.OutputTokens - before.OutputTokens,
		u.ReasoningOutputTokens - before.ReasoningOutputTokens}
	if min(d.InputTokens, d.CachedInputTokens, d.CacheWriteInputTokens, d.OutputTokens, d.ReasoningOutputTokens) < 0 {
		return u // another count has begun
	}
	return d
}
