package poller

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
)

// commit judges a batch, stores it together with the cursor and hands it on.
func (p *Poller) commit(ctx context.Context, c *cycle.Cycle, updates []botapi.Update, took time.Duration) error {
	floor := p.cursor.NextOffset
	began := time.Now()
	batch, err := p.judgeAll(ctx, updates)
	var in store.Ingested
	if err == nil {
		in, err = p.Store.Ingest(ctx, batch, began)
	}
	if err != nil && ctx.Err() != nil {
		c.Empty(took)
		return nil
	}
	if err != nil {
		p.Log.Error("updates could not be stored; Telegram keeps them", zap.Error(err), zap.Int("updates", len(updates)))
		c.Failed(cycle.ProcessOnceFailed, err)
		return err
	}
	crashpoint.Here(crashpoint.Ingested)
	p.cursor = in.Cursor
	p.Meter.Took(in)
	p.note(in.New, began)
	handed, sessions, commands := sortOut(in.New)
	b := batchOf(in, floor, took)
	// A batch that was handed on is committed and is answered: what a strict cursor
	// file refuses then is the acknowledgement of each of its updates.
	if err := p.save(c); len(b.Handed)+len(b.Dropped) > 0 {
		b.AckFailed = err
	} else {
		b.Failed = err
	}
	c.Fetched(b)
	if len(in.Duplicates)+len(in.Stale) > 0 {
		p.Log.Info("updates were known already or stale", zap.Int("duplicates", len(in.Duplicates)), zap.Int("stale", len(in.Stale)))
	}
	if handed > 0 {
		p.Wake(sessions, commands)
	}
	return nil
}

// judgeAll turns updates into what is stored of them. That a group has become a
// supergroup is stored before them: what comes after it is judged by it.
func (p *Poller) judgeAll(ctx context.Context, updates []botapi.Update) ([]store.NewUpdate, error) {
	batch := make([]store.NewUpdate, len(updates))
	for i, raw := range updates {
		u, err := admission.Parse(raw.Raw)
		if err := p.follow(ctx, u); err != nil {
			return nil, err
		}
		u.Origin = p.Store.Origin(u.ChatID)
		batch[i] = p.judge(raw, u, err)
	}
	return batch, nil
}

// follow notes that a group which may use the bot has become a supergroup.
func (p *Poller) follow(ctx context.Context, u admission.Update) error {
	from, to := u.ChatID, u.MigratedTo
	if u.MigratedFrom != 0 {
		from, to = u.MigratedFrom, u.ChatID
	}
	if from >= 0 || to >= 0 || p.Store.ChatNow(from) == to || !p.Gate.Allows(from) { // groups have negative ids
		return nil
	}
	p.Log.Warn("an allowed group has become a supergroup, which is allowed as long as the group is: better name it in CHANNEL_ALLOWED_CHAT_IDS",
		zap.Int64("chat", from), zap.Int64("supergroup", to))
	if err := p.Store.Migrate(ctx, from, to); err != nil {
		return err
	}
	if p.Moved != nil {
		p.Moved(to)
	}
	return nil
}

// judge turns an update into what is stored of it. Of one that is not handed on,
// no text is kept.
func (p *Poller) judge(raw botapi.Update, u admission.Update, err error) store.NewUpdate {
	n := store.NewUpdate{UpdateID: raw.ID, State: store.Skipped, Digest: u.Digest, ChatID: u.ChatID, TopicID: u.TopicID,
		MessageID: u.MessageID, FromID: u.FromID, Private: u.Private(), CallbackID: u.CallbackID, Date: u.Date}
	if err != nil {
		n.Reason = err.Error()
		p.Log.Warn("update is not of the expected shape", zap.Int64("update_id", raw.ID), zap.String("reason", n.Reason))
		return n
	}
	d := p.Gate.Judge(u)
	n.Reason = d.Reason
	switch d.Verdict {
	case admission.Drop:
		n.State = store.Dropped
		p.Log.Info("update dropped", zap.Int64("update_id", raw.ID), zap.String("reason", n.Reason))
	case admission.Accept:
		n.State, n.Kind, n.Text, n.TurnID = store.Queued, store.Kind(d.Action), d.Text, d.TurnID
		n.SessionID = admission.SessionID(p.Store.Conversation(u.ChatID), u.TopicID)
		if p.Echo {
			p.asEcho(&n, u)
		}
	default:
		p.Log.Debug("update skipped", zap.Int64("update_id", raw.ID), zap.String("reason", n.Reason))
	}
	return n
}

// asEcho makes an accepted message an echo of its whole text. Buttons belong to
// turns, which wait for the codex mode to come back.
func (p *Poller) asEcho(n *store.NewUpdate, u admission.Update) {
	n.Kind, n.Text, n.TurnID = store.KindEcho, u.Text, ""
	if u.Kind == admission.Callback {
		n.Kind, n.Text, n.SessionID, n.State, n.Reason = "", "", "", store.Skipped, "buttons have no meaning in echo mode"
	}
}

// sortOut counts what is handed on and where it has to be taken up.
func sortOut(stored []store.Update) (handed int, sessions []string, commands bool) {
	seen := map[string]bool{}
	for _, u := range stored {
		if u.State != store.Queued {
			continue
		}
		handed++
		switch {
		case u.Kind != store.KindPrompt && u.Kind != store.KindNew:
			commands = true
		case !seen[u.SessionID]:
			seen[u.SessionID] = true
			sessions = append(sessions, u.SessionID)
		}
	}
	return handed, sessions, commands
}

func batchOf(in store.Ingested, floor int64, took time.Duration) cycle.Batch {
	b := cycle.Batch{Stale: in.Stale, Floor: floor, FetchTime: took}
	for _, u := range in.New {
		switch u.State {
		case store.Queued:
			b.Handed = append(b.Handed, u)
		case store.Dropped:
			b.Dropped = append(b.Dropped, u)
		}
	}
	return b
}

// save rewrites the cursor file where it is behind. A failure is diagnosed or,
// where the file is strict, returned, and the next poll tries again; the store's
// own cursor is what counts.
func (p *Poller) save(c *cycle.Cycle) error {
	next := p.cursor.NextOffset
	if p.CursorPath == "" || next == 0 || next == p.saved {
		return nil
	}
	err := WriteCursor(p.CursorPath, next)
	if err == nil {
		p.saved = next
		return nil
	}
	p.Log.Warn("cursor file could not be written", zap.Error(err))
	if p.Strict {
		return err
	}
	c.Add(cycle.Detail{Code: cycle.CursorSaveError, Message: err.Error()})
	return nil
}

// LoadCursor reads the cursor file at the start, before the store is acquired. A
// file that cannot be read is diagnosed in the first cycle; where it is strict,
// it makes a cycle fail: once, or every interval until the file is mended.
func LoadCursor(ctx context.Context, c Config) (*int64, error) {
	if c.CursorPath == "" {
		return nil, nil
	}
	for {
		floor, err := ReadCursor(c.CursorPath)
		if err == nil {
			return floor, nil
		}
		if !c.Strict {
			c.Tracker.Diagnostic(store.Key{}, cycle.Detail{Code: cycle.CursorLoadError, Message: err.Error()})
			return nil, nil
		}
		c.Tracker.Begin(time.Now()).Failed(cycle.LoopCycleFailed, err)
		if c.Once {
			return nil, err
		}
		select {
		case <-time.After(c.Interval):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}
