-- The workers that were ever met, for the restarts that happen while no gateway
-- looks.
CREATE TABLE workers (
    bot_id        BIGINT NOT NULL,
    worker_id     TEXT   NOT NULL,
    process_id    TEXT   NOT NULL, -- the newest that was met
    start_count   BIGINT NOT NULL, -- the worker's own; 0: it does not count
    restart_count BIGINT NOT NULL, -- since it was first met
    met_at        BIGINT NOT NULL, -- that process
    PRIMARY KEY (bot_id, worker_id)
);

-- Which sessions were taken from which workers, and why. Rows stay.
CREATE TABLE moves (
    bot_id      BIGINT NOT NULL,
    move_id     BIGINT NOT NULL,
    session_id  TEXT   NOT NULL,
    from_worker TEXT   NOT NULL,
    to_worker   TEXT   NOT NULL, -- empty: the next that has room
    thread_id   TEXT   NOT NULL, -- that was moved, or given up
    reason      TEXT   NOT NULL,
    moved_at    BIGINT NOT NULL,
    PRIMARY KEY (bot_id, move_id)
);

CREATE INDEX moves_session ON moves (bot_id, session_id, move_id);
