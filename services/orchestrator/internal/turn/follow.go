package turn

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// followerBytes bounds what waits in memory for one follower. One that falls
// further behind reads on from the journal until it has caught up, so that a slow
// stream costs neither memory nor the turn's speed.
const followerBytes = 1 << 20

// follower is one reader of a running turn; guarded by Turn.mu.
type follower struct {
	queue  [][]*orchestratorv1.TurnEvent
	bytes  int
	behind bool          // the queue is not the whole rest
	wake   chan struct{} // capacity 1
}

// Events is a sequence of runs of consecutive events. An error is the last
// element.
type Events = iter.Seq2[[]*orchestratorv1.TurnEvent, error]

// publish shows committed events.
func (t *Turn) publish(events []*orchestratorv1.TurnEvent, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(events) > 0 {
		t.committed = events[len(events)-1].GetSequence()
	}
	if ended {
		t.ended, t.last = true, events[len(events)-1]
	}
	if len(t.followers) == 0 {
		return
	}
	bytes := 0
	for _, event := range events {
		bytes += sizeOf(event)
	}
	for f := range t.followers {
		f.push(events, bytes)
	}
}

// abandon lets the followers go, of a turn whose end could not be stored.
func (t *Turn) abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for f := range t.followers {
		f.push(nil, 0)
	}
}

func (f *follower) push(events []*orchestratorv1.TurnEvent, bytes int) {
	switch {
	case len(events) == 0 || f.behind:
	case f.bytes > 0 && f.bytes+bytes > followerBytes:
		f.behind = true
	default:
		f.queue = append(f.queue, events)
		f.bytes += bytes
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// follow yields every event after the given sequence, as they are committed, and
// ends with the finished event or the context.
func (t *Turn) follow(ctx context.Context, after uint64) Events {
	return func(yield func([]*orchestratorv1.TurnEvent, error) bool) {
		f := &follower{behind: true, wake: make(chan struct{}, 1)}
		t.mu.Lock()
		t.followers[f] = struct{}{}
		t.mu.Unlock()
		defer func() {
			t.mu.Lock()
			delete(t.followers, f)
			t.mu.Unlock()
		}()
		for {
			queue, stored, ended := t.next(f, after)
			if stored {
				events, err := t.manager.journal.Events(ctx, t.journaled.Row, after)
				if err != nil {
					yield(nil, err)
					return
				}
				if dropped(events, after) { // acknowledged meanwhile
					events = []*orchestratorv1.TurnEvent{t.last}
				}
				queue = [][]*orchestratorv1.TurnEvent{events}
			}
			for _, events := range queue {
				if events = beyond(events, after); len(events) == 0 {
					continue
				}
				if !yield(events, nil) {
					return
				}
				after = events[len(events)-1].GetSequence()
			}
			if len(queue) > 0 {
				continue
			}
			if ended {
				return
			}
			select {
			case <-f.wake:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

// next says where a follower finds the events after a sequence: in the queue, in
// the journal (stored), or nowhere yet.
func (t *Turn) next(f *follower, after uint64) (queue [][]*orchestratorv1.TurnEvent, stored, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(f.queue) > 0 {
		queue, f.queue, f.bytes = f.queue, nil, 0
		return queue, false, false
	}
	if f.behind && after < t.committed {
		return nil, true, false
	}
	f.behind = false
	return nil, false, t.ended
}

// dropped says that the next event is not there any more, whatever is left of those
// behind it.
func dropped(events []*orchestratorv1.TurnEvent, after uint64) bool {
	return len(events) == 0 || events[0].GetSequence() != after+1
}

// beyond cuts off the events up to a sequence.
func beyond(events []*orchestratorv1.TurnEvent, after uint64) []*orchestratorv1.TurnEvent {
	for len(events) > 0 && events[0].GetSequence() <= after {
		events = events[1:]
	}
	return events
}

// replay yields the events of a turn that has ended, from the journal. When they
// were dropped, the finished event alone is left.
func replay(ctx context.Context, j *journal.Journal, record journal.Record, after uint64) Events {
	return func(yield func([]*orchestratorv1.TurnEvent, error) bool) {
		for after < record.LastSequence {
			events, err := j.Events(ctx, record.Row, after)
			if err != nil {
				yield(nil, err)
				return
			}
			if dropped(events, after) {
				events = []*orchestratorv1.TurnEvent{record.Finished}
			}
			if !yield(events, nil) {
				return
			}
			after = events[len(events)-1].GetSequence()
		}
	}
}

// sizeOf is about how much memory an event takes; exact where the payload lies
// outside of the text.
func sizeOf(event *orchestratorv1.TurnEvent) int {
	const envelope = 256
	switch event.GetKind() {
	case orchestratorv1.EventKind_EVENT_KIND_TOOL_CALL, orchestratorv1.EventKind_EVENT_KIND_TOOL_RESULT:
		return envelope + proto.Size(event)
	}
	return envelope + len(event.GetText()) + len(event.GetMessage())
}
