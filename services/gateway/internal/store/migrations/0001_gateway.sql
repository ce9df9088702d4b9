-- The gateway's store. The text is read by SQLite and by PostgreSQL: BIGINT and
-- TEXT columns, times as milliseconds since 1970 (0: none), flags as 0 or 1, no
-- automatic keys. Every table begins with bot_id, for one database may hold
-- several bots.

CREATE TABLE bots (
    bot_id         BIGINT NOT NULL PRIMARY KEY,
    username       TEXT   NOT NULL,
    generation     BIGINT NOT NULL, -- the newest one
    created_at     BIGINT NOT NULL
);

-- Who may write for the bot. The holder moves beat with every write and while it
-- is idle; one whose epoch is past writes nothing any more. Older and newer
-- programs read this table of each other: its columns stay.
CREATE TABLE leases (
    bot_id      BIGINT NOT NULL PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    holder      TEXT   NOT NULL, -- a process; empty: the bot was released
    beat        BIGINT NOT NULL,
    guarded     BIGINT NOT NULL, -- 1: the holder has the lock on the SQLite file
    acquired_at BIGINT NOT NULL
);

-- How far getUpdates is committed, for each token of the bot.
CREATE TABLE cursors (
    bot_id       BIGINT NOT NULL,
    fingerprint  TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    next_offset  BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, fingerprint)
);

-- The inbox: every update that was ever taken and not yet pruned. work is 'lane'
-- while the update waits or runs in its session's lane, 'command' while it waits
-- to be handled at once, else empty. state is QUEUED for as long as there is work;
-- how far that is, its newest turn says.
CREATE TABLE updates (
    bot_id      BIGINT NOT NULL,
    update_id   BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    work        TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    session_id  TEXT   NOT NULL,
    chat_id     BIGINT NOT NULL,
    topic_id    BIGINT NOT NULL,
    message_id  BIGINT NOT NULL,
    from_id     BIGINT NOT NULL,
    private     BIGINT NOT NULL,
    text        TEXT   NOT NULL,
    turn_id     TEXT   NOT NULL, -- that a decision or a /cancel is about
    callback_id TEXT   NOT NULL,
    sent_at     BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    settled_at  BIGINT NOT NULL,
    told_at     BIGINT NOT NULL DEFAULT 0, -- a notice said that it has to wait
    PRIMARY KEY (bot_id, update_id, generation)
);

CREATE INDEX updates_lane ON updates (bot_id, session_id, generation, update_id) WHERE work = 'lane';
CREATE INDEX updates_command ON updates (bot_id, generation, update_id) WHERE work = 'command';
CREATE INDEX updates_settled ON updates (bot_id, settled_at) WHERE settled_at > 0;

-- One row for each attempt at an update, written when a worker is chosen for it
-- or it ends without one.
CREATE TABLE turns (
    turn_id         TEXT   NOT NULL PRIMARY KEY,
    bot_id          BIGINT NOT NULL,
    generation      BIGINT NOT NULL,
    update_id       BIGINT NOT NULL,
    attempt         BIGINT NOT NULL,
    session_id      TEXT   NOT NULL,
    prompt          TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    thread_id       TEXT   NOT NULL,
    worker_id       TEXT   NOT NULL,
    journal_id      TEXT   NOT NULL,
    working_dir     TEXT   NOT NULL, -- asked for when a worker was chosen
    pinned          BIGINT NOT NULL, -- 1: assigning this turn pinned its session
    outcome         TEXT   NOT NULL,
    error_code      TEXT   NOT NULL,
    error_message   TEXT   NOT NULL,
    input_tokens             BIGINT NOT NULL,
    cached_input_tokens      BIGINT NOT NULL,
    cache_write_input_tokens BIGINT NOT NULL,
    output_tokens            BIGINT NOT NULL,
    reasoning_output_tokens  BIGINT NOT NULL,
    resolution      TEXT   NOT NULL,
    resolved_at     BIGINT NOT NULL,
    parked_at       BIGINT NOT NULL, -- an interrupted turn stopped holding its lane back
    created_at      BIGINT NOT NULL,
    assigned_at     BIGINT NOT NULL,
    accepted_at     BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    acknowledged_at BIGINT NOT NULL, -- the worker was told that the outcome is stored
    UNIQUE (bot_id, update_id, generation, attempt)
);

CREATE INDEX turns_open ON turns (bot_id, session_id) WHERE ended_at = 0;
CREATE INDEX turns_interrupted ON turns (bot_id, session_id, ended_at) WHERE state = 'INTERRUPTED' AND resolution = '';
CREATE INDEX turns_unacknowledged ON turns (bot_id, ended_at) WHERE ended_at > 0 AND acknowledged_at = 0 AND worker_id <> '';

-- A conversation, the Codex thread it is held in, and the worker that has it.
CREATE TABLE sessions (
    bot_id     BIGINT NOT NULL,
    session_id TEXT   NOT NULL,
    chat_id    BIGINT NOT NULL,
    topic_id   BIGINT NOT NULL,
    thread_id  TEXT   NOT NULL,
    worker_id  TEXT   NOT NULL,
    journal_id TEXT   NOT NULL,
    input_tokens             BIGINT NOT NULL,
    cached_input_tokens      BIGINT NOT NULL,
    cache_write_input_tokens BIGINT NOT NULL,
    output_tokens            BIGINT NOT NULL,
    reasoning_output_tokens  BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, session_id)
);

-- Messages to chats. done_at is 0 until Telegram has taken the message or
-- refused it for good.
CREATE TABLE outbox (
    bot_id        BIGINT NOT NULL,
    outbox_id     BIGINT NOT NULL,
    generation    BIGINT NOT NULL,
    update_id     BIGINT NOT NULL,
    turn_id       TEXT   NOT NULL,
    chat_id       BIGINT NOT NULL,
    topic_id      BIGINT NOT NULL,
    group_chat    BIGINT NOT NULL,
    kind          TEXT   NOT NULL,
    text          TEXT   NOT NULL,
    document_name TEXT   NOT NULL,
    document_bytes BIGINT NOT NULL, -- -1: no document
    reply_to      BIGINT NOT NULL,
    markup        TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    attempts      BIGINT NOT NULL,
    not_before    BIGINT NOT NULL,
    in_doubt      BIGINT NOT NULL,
    sent_message_id BIGINT NOT NULL,
    reason        TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    done_at       BIGINT NOT NULL,
    PRIMARY KEY (bot_id, outbox_id)
);

CREATE INDEX outbox_waiting ON outbox (bot_id, chat_id, outbox_id) WHERE done_at = 0;
CREATE INDEX outbox_update ON outbox (bot_id, update_id, generation);

-- The documents of messages that are not done, cut into parts of a bounded size.
CREATE TABLE outbox_parts (
    bot_id    BIGINT NOT NULL,
    outbox_id BIGINT NOT NULL,
    part      BIGINT NOT NULL, -- 0 for the first
    content   BYTEA  NOT NULL,
    PRIMARY KEY (bot_id, outbox_id, part),
    FOREIGN KEY (bot_id, outbox_id) REFERENCES outbox (bot_id, outbox_id) ON DELETE CASCADE
);

-- What Telegram has said about a chat.
CREATE TABLE chats (
    bot_id         BIGINT NOT NULL,
    chat_id        BIGINT NOT NULL,
    blocked_until  BIGINT NOT NULL, -- nothing is sent before
    migrated_to    BIGINT NOT NULL, -- the supergroup that has taken the chat's place; 0: none
    drafts_refused BIGINT NOT NULL, -- 1: the chat cannot show drafts
    PRIMARY KEY (bot_id, chat_id)
);
