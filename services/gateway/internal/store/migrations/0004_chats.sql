-- Until when a chat has to wait is known with the time at which that was said: the
-- clock may be set back meanwhile.
ALTER TABLE chats ADD COLUMN blocked_at BIGINT NOT NULL DEFAULT 0;

-- 1: the sessions of a group go on in the supergroup that has taken its place.
ALTER TABLE chats ADD COLUMN continued BIGINT NOT NULL DEFAULT 0;
