package telegramsim

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// queue holds the updates that wait to be confirmed (tdlib's TQueue, for one
// bot).
type queue struct {
	pending   []update
	past      []update // the last that were confirmed
	nextID    int64
	confirmed int64    // the offset that last confirmed anything
	allowed   []string // nil: Telegram's default
	webhook   string
	parked    *poll
	polls     int

	lastOffset int64
	lastPoll   time.Time
}

type update struct {
	id  int64
	raw json.RawMessage
}

// poll is a long poll that waits.
type poll struct {
	ended       chan struct{} // closed when another call ends it
	description string        // why, for its 409
}

// reach is how far past the next id an offset may lie (tdlib): beyond, it is
// from before a restart of the ids, and the queue is served from its head.
const reach = 10

// maxPast is how many confirmed updates are kept.
const maxPast = 100

const (
	conflictPoll       = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
	conflictSetWebhook = "Conflict: terminated by setWebhook request"
	conflictWebhook    = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)

// end answers the parked poll with 409.
func (q *queue) end(description string) {
	if q.parked != nil {
		q.parked.description = description
		close(q.parked.ended)
		q.parked = nil
	}
}

// confirm forgets what an offset says was received.
func (q *queue) confirm(offset int64) {
	keep := len(q.pending)
	switch {
	case offset < 0:
		keep = int(min(-offset, int64(len(q.pending))))
	case offset > 0 && offset <= q.nextID+reach:
		if i := slices.IndexFunc(q.pending, func(u update) bool { return u.id >= offset }); i >= 0 {
			keep -= i
		} else {
			keep = 0
		}
	}
	if dropped := len(q.pending) - keep; dropped > 0 {
		q.confirmed = q.pending[dropped-1].id + 1
		q.past = append(q.past, q.pending[:dropped]...)
		q.past = slices.Clone(q.past[max(0, len(q.past)-maxPast):])
		q.pending = slices.Delete(q.pending, 0, dropped)
	}
}

// batch is what a poll is answered with; replay counts the confirmed updates that
// it brings again.
func (q *queue) batch(limit int64, replay int) []json.RawMessage {
	batch := []json.RawMessage{}
	for _, u := range slices.Concat(q.past[max(0, len(q.past)-replay):], q.pending) {
		if int64(len(batch)) < limit {
			batch = append(batch, u.raw)
		}
	}
	return batch
}

// wanted applies allowed_updates, which Telegram does when an update comes in.
func (q *queue) wanted(kind string) bool {
	if len(q.allowed) == 0 {
		return kind != "chat_member" && kind != "message_reaction" && kind != "message_reaction_count"
	}
	return slices.Contains(q.allowed, kind)
}

func (s *Sim) getUpdates(ctx context.Context, a args) (any, *failure) {
	limit := a.integer("limit")
	if limit < 1 || limit > 100 {
		limit = 100
	}
	timeout := time.Duration(min(max(a.integer("timeout"), 0), 50)) * time.Second
	self := &poll{ended: make(chan struct{})}
	if failure := s.beginPoll(self, a, &timeout); failure != nil {
		return nil, failure
	}
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	batch := []json.RawMessage{}
	ended := false
	err := s.await(deadline, func() bool {
		select {
		case <-self.ended:
			ended = true
			return true
		default:
		}
		batch = s.queue.batch(limit, a.replay)
		return len(batch) > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.parked == self {
		s.queue.parked = nil
	}
	switch {
	case ended:
		return nil, &failure{code: 409, description: self.description}
	case errors.Is(err, errClosed):
		return nil, restart()
	}
	return batch, nil
}

// beginPoll ends an older poll, confirms, and parks this one.
func (s *Sim) beginPoll(self *poll, a args, timeout *time.Duration) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	if q.webhook != "" {
		return &failure{code: 409, description: conflictWebhook}
	}
	if text, given := a.values["allowed_updates"]; given {
		var allowed []string
		if json.Unmarshal([]byte(text), &allowed) != nil {
			return badRequest("can't parse allowed_updates: expected an array of strings")
		}
		q.allowed = allowed
	}
	offset, now := a.integer("offset"), time.Now()
	if s.throttle && offset == q.lastOffset && now.Sub(q.lastPoll) < 3*time.Second {
		*timeout = max(*timeout, 3*time.Second)
	}
	q.lastOffset, q.lastPoll = offset, now
	q.end(conflictPoll)
	q.polls++
	q.confirm(offset)
	if *timeout > 0 && len(q.pending) == 0 {
		q.parked = self
	}
	s.notify()
	return nil
}

func (s *Sim) getMe(context.Context, args) (any, *failure) {
	return map[string]any{
		"id": s.botID, "is_bot": true, "first_name": "Telecodex", "username": s.username,
		"can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
	}, nil
}

func (s *Sim) getWebhookInfo(context.Context, args) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]any{
		"url": s.queue.webhook, "has_custom_certificate": false, "pending_update_count": len(s.queue.pending),
	}, nil
}

func (s *Sim) setWebhook(_ context.Context, a args) (any, *failure) {
	s.SetWebhook(a.values["url"])
	return true, nil
}

func (s *Sim) deleteWebhook(_ context.Context, a args) (any, *failure) {
	s.SetWebhook("")
	if a.values["drop_pending_updates"] == "true" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queue.confirm(s.queue.nextID)
		s.notify()
	}
	return true, nil
}

// SetWebhook sets the bot's webhook, which ends its polls with 409; empty:
// deletes it. Nothing is ever delivered to it.
func (s *Sim) SetWebhook(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.webhook = url
	if url != "" {
		s.queue.end(conflictSetWebhook)
	}
	s.notify()
}

// SetNextUpdateID restarts the update ids, as Telegram does after a week of
// silence. It fails while an update waits to be confirmed.
func (s *Sim) SetNextUpdateID(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case id <= 0:
		return errors.New("telegramsim: an update id is positive")
	case len(s.queue.pending) > 0:
		return errors.New("telegramsim: updates wait to be confirmed")
	}
	s.queue.nextID = id
	return nil
}

// State is what the control API tells about the queue of updates.
type State struct {
	// Pending is how many updates are not confirmed yet.
	Pending int `json:"pending"`
	// ConfirmedOffset is one more than the update confirmed last; 0: none was.
	ConfirmedOffset int64 `json:"confirmed_offset"`
	// NextUpdateID is the id of the next update.
	NextUpdateID int64 `json:"next_update_id"`
	// Polls counts the getUpdates calls so far.
	Polls int `json:"polls"`
	// Parked says whether a long poll waits now.
	Parked bool `json:"parked"`
	// Webhook is the webhook's URL; empty: none.
	Webhook string `json:"webhook"`
	// Messages counts the messages sent so far.
	Messages int `json:"messages"`
}

// State says how the queue is.
func (s *Sim) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state()
}

func (s *Sim) state() State {
	q := &s.queue
	return State{len(q.pending), q.confirmed, q.nextID, q.polls, q.parked != nil, q.webhook, len(s.messages)}
}

// WaitForState waits until the state is as wanted, and returns it.
func (s *Sim) WaitForState(ctx context.Context, wanted func(State) bool) (State, error) {
	var state State
	err := s.await(ctx, func() bool {
		state = s.state()
		return wanted(state)
	})
	return state, err
}
