-- How many updates were ever stored, and how many came to an end: each counted in
-- the transaction that does it, so that pruning takes nothing away. What waits, and
-- for whom, is counted by the indexes above.
CREATE TABLE totals (
    bot_id   BIGINT NOT NULL PRIMARY KEY,
    accepted BIGINT NOT NULL, -- updates that were stored
    answered BIGINT NOT NULL, -- of these: nothing of them waits any more
    dropped  BIGINT NOT NULL  -- of these: refused, or a person's decision
);

INSERT INTO totals (bot_id, accepted, answered, dropped)
SELECT b.bot_id,
    (SELECT count(*) FROM updates u WHERE u.bot_id = b.bot_id),
    (SELECT count(*) FROM updates u WHERE u.bot_id = b.bot_id AND u.state = 'DELIVERED'),
    (SELECT count(*) FROM updates u WHERE u.bot_id = b.bot_id AND u.state IN ('DROPPED', 'SKIPPED'))
FROM bots b;
