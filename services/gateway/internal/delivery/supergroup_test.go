package delivery

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

// reopen is what a restart does to the store.
func (w *world) reopen() {
	w.t.Helper()
	var err error
	if w.store, err = w.db.Acquire(w.t.Context(), store.Bot{ID: 1000000, Fingerprint: "f"}, nil); err != nil {
		w.t.Fatal(err)
	}
	w.config.Store = w.store
}

func TestAGroupThatBecameASupergroupIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: -6, Count: -1, MigrateToChatID: -1006})
	key := w.post(-6, 0, text("moved"))
	w.run()
	w.delivered(key)
	w.delivered(w.post(-6, 0, text("again")))
	for _, m := range w.sent(-1006, 2) {
		if m.ReplyTo != 0 {
			t.Errorf("%q replies to a message of another chat", m.Text)
		}
	}
	w.eventually("shown", func() bool { // a chat that is sent to is left alone
		w.sender.Typing(-6, 0, true)
		return len(w.sim.Actions(-1006)) > 0
	})
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.run()
	w.delivered(w.post(-6, 0, text("after a restart")))
	w.sent(-1006, 3)
	if n := len(w.sim.Calls(telegramsim.CallFilter{Method: "sendMessage", ChatID: -6})); n != 1 {
		t.Errorf("the old group was called %d times", n)
	}
}

func TestWhateverIsSentFollowsAGroupThatMoved(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method  string
		message store.Message
	}{
		"answer":   {"sendMessage", text("moved")},
		"notice":   {"sendMessage", store.Message{Kind: store.Notice, Text: "moved"}},
		"question": {"sendMessage", store.Message{Kind: store.Question, Text: "moved", Markup: []byte(`{"inline_keyboard":[[{"text":"Drop","callback_data":"x"}]]}`)}},
		"document": {"sendDocument", store.Message{Kind: store.Answer, Text: "moved", Document: &store.Document{Name: "answer.md", Content: []byte("long")}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sim.Fail(telegramsim.Fault{Method: tt.method, ChatID: -6, MigrateToChatID: -1006})
			key := w.post(-6, 0, tt.message)
			w.run()
			m := w.sent(-1006, 1)[0]
			w.eventually("stored", func() bool { return w.state(key).Outbox[0].State == store.Sent })
			document := m.Document != nil && string(m.Document.Content) == "long"
			if m.Text != "moved" || (m.ReplyMarkup != nil) != (tt.message.Kind == store.Question) || document != (tt.message.Document != nil) {
				t.Errorf("sent there: %+v", m)
			}
			if n := len(w.sim.Messages(-6)); n != 0 {
				t.Errorf("%d messages were sent to the old group", n)
			}
		})
	}
}

func TestAMessageIsNotHeldBackByAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	c, now := &chat{}, time.Now()
	soon := now.Add(10 * time.Second)
	if got := c.again(store.Outgoing{NotBefore: soon}); !got.Equal(soon) {
		t.Errorf("it is tried again in %v", got.Sub(now))
	}
	if wait := c.again(store.Outgoing{NotBefore: now.Add(time.Hour)}).Sub(now); wait > lastBackoff+time.Second {
		t.Errorf("it is tried again in %v", wait)
	}
	c.failures, c.resume = 1, soon
	if got := c.again(store.Outgoing{NotBefore: now.Add(time.Hour)}); got != soon {
		t.Errorf("it is tried again in %v", got.Sub(now))
	}
}

// What waits for a group goes to the supergroup however that becomes known: by an
// update that says so, while the group's messages are tried again, too.
func TestWhatIsTriedAgainFollowsAGroupThatMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: -6, Count: -1, Status: 502})
	w.run()
	key := w.post(-6, 0, text("late"))
	w.eventually("tried", func() bool { return len(w.sim.Calls(telegramsim.CallFilter{Method: "sendMessage", ChatID: -6})) > 0 })
	if err := w.store.Migrate(t.Context(), -6, -1006); err != nil {
		t.Fatal(err)
	}
	w.delivered(key)
	w.sent(-1006, 1)
}
