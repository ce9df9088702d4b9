package store

import (
	"context"
	"slices"
	"time"
)

// Kinds of work, see the schema.
const (
	workLane    = "lane"
	workCommand = "command"
)

// workOf says what an update still needs done.
func workOf(kind Kind, state State) string {
	switch {
	case state != Queued && state != Assigned && state != Accepted:
		return ""
	case kind == KindPrompt || kind == KindNew:
		return workLane
	}
	return workCommand
}

const updateColumns = `generation, update_id, kind, state, reason, digest, session_id, chat_id, topic_id, message_id,
	from_id, private, text, turn_id, callback_id, sent_at, received_at, settled_at`

func readUpdate(row scanner) (u Update, err error) {
	var sent, received, settled int64
	err = row.Scan(&u.Generation, &u.UpdateID, &u.Kind, &u.State, &u.Reason, &u.Digest, &u.SessionID, &u.ChatID, &u.TopicID,
		&u.MessageID, &u.FromID, &u.Private, &u.Text, &u.TurnID, &u.CallbackID, &sent, &received, &settled)
	u.Date, u.ReceivedAt, u.SettledAt = fromMillis(sent), fromMillis(received), fromMillis(settled)
	return u, err
}

// Cursor is how far updates are committed.
func (s *Store) Cursor(ctx context.Context) (c Cursor, err error) {
	err = s.read(ctx, func(q *tx) error { c, err = q.cursor(s.bot.Fingerprint); return err })
	return c, err
}

func (q *tx) cursor(fingerprint string) (c Cursor, err error) {
	var at int64
	err = q.row(`SELECT generation, next_offset, committed_at FROM cursors WHERE bot_id = $1 AND fingerprint = $2`,
		q.bot, fingerprint).Scan(&c.Generation, &c.NextOffset, &at)
	c.CommittedAt = fromMillis(at)
	return c, err
}

// Ingest stores a batch of updates, in the order in which Telegram sent them, and
// moves the cursor past the last, in one transaction: once it returns, the cursor
// may be sent to Telegram, which then forgets them.
//
// An update whose message is stored already, under whatever generation, is a
// duplicate. An id that the cursor has passed, of a message that is not stored,
// begins a new generation when the message is younger than the cursor or has no
// date: Telegram has started to count anew. Otherwise it is stale; it is stored
// as dropped, so that it is a duplicate from then on.
//
// A message parks what its session's person has not decided about.
func (s *Store) Ingest(ctx context.Context, batch []NewUpdate, now time.Time) (Ingested, error) {
	var in Ingested
	err := s.write(ctx, func(q *tx) error {
		cursor, err := q.cursor(s.bot.Fingerprint)
		if err != nil {
			return err
		}
		q.now = millis(now)
		i := &intake{tx: q, floorAt: cursor.CommittedAt, at: cursor, sessions: map[string]bool{}, freed: map[string]bool{}}
		for _, u := range batch {
			if err := i.take(u); err != nil {
				return err
			}
		}
		if err := q.count(i.stored, 0, i.refused); err != nil {
			return err
		}
		if i.at.NextOffset != cursor.NextOffset || i.at.Generation != cursor.Generation {
			i.at.CommittedAt = fromMillis(q.now)
			if err := q.moveCursor(s.bot.Fingerprint, i.at); err != nil {
				return err
			}
		}
		in = i.Ingested
		in.Cursor = i.at
		return nil
	})
	return in, err
}

func (q *tx) moveCursor(fingerprint string, c Cursor) error {
	return q.exec(`UPDATE cursors SET generation = $3, next_offset = $4, committed_at = $5
		WHERE bot_id = $1 AND fingerprint = $2`, q.bot, fingerprint, c.Generation, c.NextOffset, millis(c.CommittedAt))
}

// intake is the work of one Ingest.
type intake struct {
	*tx
	Ingested
	floorAt  time.Time // when the cursor was committed that this batch began with
	at       Cursor
	sessions map[string]bool // those that surely have a row
	freed    map[string]bool // those that nothing is held back in any more
	stored   int             // updates that are stored now,
	refused  int             // and those of them that nothing is done for
}

// stored is what the inbox knows of an update id.
type stored struct {
	generation int64
	digest     string
}

func readStored(row scanner) (k stored, err error) { return k, row.Scan(&k.generation, &k.digest) }

func (i *intake) take(u NewUpdate) error {
	known, err := collect(i.tx, readStored, `SELECT generation, digest FROM updates WHERE bot_id = $1 AND update_id = $2`,
		i.bot, u.UpdateID)
	if err != nil {
		return err
	}
	if n := slices.IndexFunc(known, func(k stored) bool { return k.digest == u.Digest }); n >= 0 {
		i.Duplicates = append(i.Duplicates, u.UpdateID)
		if known[n].generation == i.at.Generation {
			i.at.NextOffset = max(i.at.NextOffset, u.UpdateID+1)
		}
		return nil
	}
	taken := slices.ContainsFunc(known, func(k stored) bool { return k.generation == i.at.Generation })
	switch {
	case u.UpdateID >= i.at.NextOffset && !taken:
	case u.Date.IsZero() || u.Date.After(i.floorAt):
		if i.at.Generation, err = i.nextGeneration(); err != nil {
			return err
		}
	default:
		i.Stale = append(i.Stale, u)
		if taken {
			return nil
		}
		u.State, u.Reason = Dropped, "stale"
		return i.insert(Key{i.at.Generation, u.UpdateID}, u)
	}
	key := Key{i.at.Generation, u.UpdateID}
	i.at.NextOffset = u.UpdateID + 1
	if u.State == Queued && u.TurnID == "" {
		if u.TurnID, err = i.meant(u.Kind, u.SessionID); err != nil {
			return err
		}
	}
	if err := i.insert(key, u); err != nil {
		return err
	}
	if err := i.free(u); err != nil {
		return err
	}
	i.New = append(i.New, stamp(key, u, i.now))
	return nil
}

// free lets go on what an interrupted turn holds back, since the person writes
// again.
func (i *intake) free(u NewUpdate) error {
	if workOf(u.Kind, u.State) != workLane || i.freed[u.SessionID] {
		return nil
	}
	i.freed[u.SessionID] = true
	return i.park(u.SessionID)
}

func (q *tx) nextGeneration() (generation int64, err error) {
	err = q.row(`UPDATE bots SET generation = generation + 1 WHERE bot_id = $1 RETURNING generation`, q.bot).Scan(&generation)
	return generation, err
}

// stamp is an update as it is stored.
func stamp(key Key, u NewUpdate, now int64) Update {
	stamped := Update{Key: key, Kind: u.Kind, State: u.State, Reason: clean(u.Reason), Digest: u.Digest, SessionID: u.SessionID,
		ChatID: u.ChatID, TopicID: u.TopicID, MessageID: u.MessageID, FromID: u.FromID, Private: u.Private, Text: clean(u.Text),
		TurnID: clean(u.TurnID), CallbackID: clean(u.CallbackID), Date: fromMillis(millis(u.Date)), ReceivedAt: fromMillis(now)}
	if u.State == Dropped || u.State == Skipped {
		stamped.SettledAt = stamped.ReceivedAt
	}
	return stamped
}

func (i *intake) insert(key Key, n NewUpdate) error {
	u := stamp(key, n, i.now)
	err := i.exec(`INSERT INTO updates (bot_id, work, `+updateColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
		i.bot, workOf(u.Kind, u.State), u.Generation, u.UpdateID, u.Kind, u.State, u.Reason, u.Digest, u.SessionID, u.ChatID,
		u.TopicID, u.MessageID, u.FromID, flag(u.Private), u.Text, u.TurnID, u.CallbackID, millis(u.Date), i.now, millis(u.SettledAt))
	i.stored++
	if !u.SettledAt.IsZero() {
		i.refused++
	}
	if err != nil || u.State != Queued || i.sessions[u.SessionID] {
		return err
	}
	i.sessions[u.SessionID] = true
	return i.exec(`INSERT INTO sessions (bot_id, session_id, chat_id, topic_id, thread_id, worker_id, journal_id, input_tokens,
			cached_input_tokens, cache_write_input_tokens, output_tokens, reasoning_output_tokens, updated_at)
		VALUES ($1, $2, $3, $4, '', '', '', 0, 0, 0, 0, 0, $5) ON CONFLICT (bot_id, session_id) DO NOTHING`,
		i.bot, u.SessionID, u.ChatID, u.TopicID, i.now)
}
