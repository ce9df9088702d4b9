-- 1: the text has changed since the message was sent, or while it was.
ALTER TABLE outbox ADD COLUMN outdated BIGINT NOT NULL DEFAULT 0;

CREATE INDEX outbox_outdated ON outbox (bot_id, outbox_id) WHERE outdated = 1;
