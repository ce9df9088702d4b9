-- The last turn that has run, or may have run, at the worker that has the session;
-- empty: none has since the session came there. Turns are pruned, and neither a
-- clock nor their ids say in which order they ran.
ALTER TABLE sessions ADD COLUMN last_turn_id TEXT NOT NULL DEFAULT '';

UPDATE sessions SET last_turn_id = coalesce((
    SELECT t.turn_id FROM turns t
    WHERE t.bot_id = sessions.bot_id AND t.session_id = sessions.session_id AND t.worker_id = sessions.worker_id
        AND t.worker_id <> '' AND (t.accepted_at > 0 OR t.state = 'INTERRUPTED')
    ORDER BY t.assigned_at DESC LIMIT 1), '');
