package poller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/store"
)

const (
	group      = -5
	supergroup = -1005
)

// inGroup is a message of a chat; extra is put into it, beginning with a comma.
func (w *world) inGroup(chat int64, extra string) int64 {
	w.t.Helper()
	return w.raw(fmt.Sprintf(`{"message": {"message_id": 7, "date": %d, "from": {"id": 7}, "chat": {"id": %d, "type": "group"}%s}}`,
		time.Now().Unix(), chat, extra))
}

func TestAGroupThatBecomesASupergroupStaysAllowedAndKeepsItsSession(t *testing.T) {
	for name, news := range map[string]func(*world) int64{
		"said in the group":      func(w *world) int64 { return w.inGroup(group, fmt.Sprint(`, "migrate_to_chat_id": `, supergroup)) },
		"said in the supergroup": func(w *world) int64 { return w.inGroup(supergroup, fmt.Sprint(`, "migrate_from_chat_id": `, group)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Gate = admission.NewGate(admission.Policy{Allowed: []string{fmt.Sprint(group)}})
			var moved []int64 // whoever sends looks there for what was posted meanwhile
			w.config.Moved = func(chatID int64) { moved = append(moved, chatID) }
			before := w.inGroup(group, `, "text": "before"`)
			stranger := w.inGroup(supergroup, `, "text": "nobody knows this chat yet"`)
			if news(w); w.once() == nil {
				t.Fatal("no report")
			}
			after := w.inGroup(supergroup, `, "text": "after"`)
			w.once()
			if err := w.db.Close(); err != nil {
				t.Fatal(err)
			}
			w.open(nil)
			later := w.inGroup(supergroup, `, "text": "after a restart"`)
			w.once()
			for id, want := range map[int64]store.State{before: store.Queued, stranger: store.Dropped, after: store.Queued, later: store.Queued} {
				trace, err := w.config.Store.Trace(t.Context(), id, 0)
				if err != nil {
					t.Fatal(err)
				}
				if u := trace.Update; u.State != want || u.State == store.Queued && u.SessionID != "telegram:-5" {
					t.Errorf("%q is %s in session %q", u.Text, u.State, u.SessionID)
				}
			}
			if !slices.Equal(moved, []int64{supergroup}) {
				t.Errorf("told of %v", moved)
			}
			// Whoever takes the group from the allowlist takes the supergroup too.
			w.config.Gate = admission.NewGate(admission.Policy{Allowed: []string{"1000"}})
			refused := w.inGroup(supergroup, `, "text": "refused"`)
			w.once()
			if s := w.state(refused); s != store.Dropped {
				t.Errorf("then it is %s", s)
			}
		})
	}
}

func TestWhatAStrangerBecomesIsAStranger(t *testing.T) {
	w := newWorld(t)
	w.inGroup(group, fmt.Sprint(`, "migrate_to_chat_id": `, supergroup))
	w.inGroup(supergroup, fmt.Sprint(`, "migrate_from_chat_id": `, group))
	w.inGroup(supergroup, `, "migrate_from_chat_id": 1000`) // a person's chat does not move
	id := w.inGroup(supergroup, `, "text": "let me in"`)
	w.once()
	if s := w.state(id); s != store.Dropped {
		t.Errorf("it is %s", s)
	}
}
