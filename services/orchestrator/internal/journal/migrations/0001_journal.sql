CREATE TABLE journal (
  id TEXT NOT NULL -- random; one row
);

CREATE TABLE turns (
  id INTEGER PRIMARY KEY,
  turn_id TEXT NOT NULL UNIQUE,
  session_id TEXT NOT NULL,
  asked_thread_id TEXT NOT NULL DEFAULT '', -- the one to go on with
  thread_id TEXT NOT NULL DEFAULT '',       -- the one Codex named
  digest BLOB NOT NULL,
  state INTEGER NOT NULL,
  tombstone INTEGER NOT NULL DEFAULT 0,
  last_sequence INTEGER,   -- NULL until the turn ended: its segments know
  finished BLOB,           -- the finished event
  created_at INTEGER NOT NULL, -- times are Unix nanoseconds
  started_at INTEGER,
  finished_at INTEGER,
  acknowledged_at INTEGER,
  dropped_at INTEGER       -- when the events were dropped
);
CREATE INDEX turns_unacknowledged ON turns (id) WHERE acknowledged_at IS NULL;
CREATE INDEX turns_droppable ON turns (id) WHERE acknowledged_at IS NOT NULL AND dropped_at IS NULL;
CREATE INDEX turns_dropped ON turns (dropped_at) WHERE dropped_at IS NOT NULL;

-- Not WITHOUT ROWID: a search in such a table reads the whole blob of every row
-- it compares.
CREATE TABLE segments (
  place INTEGER PRIMARY KEY, -- turn << 32 | sequence of the first event: no index, one page less to every commit
  count INTEGER NOT NULL,
  events BLOB NOT NULL     -- length-delimited TurnEvents
);
