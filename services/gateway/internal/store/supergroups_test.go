package store_test

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
)

const supergroup = int64(-1042)

// fromGroup is a prompt of a group.
func fromGroup(id int64) store.NewUpdate {
	u := prompt(id, "hello")
	u.ChatID, u.SessionID, u.Private = -42, "telegram:-42", false
	return u
}

func TestAGroupThatMovedTakesItsMessagesAlong(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(fromGroup(1), fromGroup(2))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, append(answer("one"), answer("two")...))))
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		for range 2 { // again, after a crash
			d.must(d.Migrate(ctx, -42, supergroup))
			d.reopen()
		}
		d.must(second(d.Finish(ctx, turnID(2, 1), store.Outcome{Name: "succeeded"}, answer("three"))))
		m, ok, err := d.NextMessage(ctx, supergroup)
		d.must(err)
		if !ok || m.ReplyTo != 0 || !m.Group {
			t.Errorf("first message: %+v, %v", m, ok)
		}
		var texts []string
		for chat, sent := range d.sendAll() {
			if texts = append(texts, sent...); chat != supergroup {
				t.Errorf("sent to %d", chat)
			}
		}
		if len(texts) != 3 || texts[0] != "one" || texts[1] != "two" || texts[2] != "three" {
			t.Errorf("sent %q", texts)
		}
		trace, err := d.Trace(ctx, 2, 0)
		d.must(err)
		if o := trace.Outbox[0]; o.ReplyTo != 0 || o.ChatID != supergroup || trace.Update.ChatID != -42 {
			t.Errorf("it replies to a message of another chat: %+v", trace)
		}
		if d.ChatNow(-42) != supergroup || d.ChatNow(7) != 7 || d.Origin(supergroup) != -42 || d.Origin(7) != 0 || d.Conversation(supergroup) != -42 {
			t.Error("what moved where is not known")
		}
		if s, err := d.Session(ctx, "telegram:-42"); err != nil || s.ChatID != supergroup || s.WorkerID != worker {
			t.Errorf("session %+v, %v", s, err)
		}
	})
}

func TestASupergroupWithSessionsOfItsOwnKeepsThem(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		own := fromGroup(2)
		own.ChatID, own.SessionID = supergroup, "telegram:-1042"
		d.ingest(fromGroup(1), own)
		d.must(d.Migrate(t.Context(), -42, supergroup))
		d.reopen()
		if d.Conversation(supergroup) != supergroup || d.Origin(supergroup) != -42 {
			t.Errorf("its sessions are those of %d", d.Conversation(supergroup))
		}
	})
}

func TestABlockedChatWaitsNoLongerThanWasSaidThoughTheClockIsSetBack(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.must(d.BlockChat(ctx, 1, time.Now().Add(time.Minute)))
		d.must(d.db.Shift(ctx, time.Hour)) // all that is stored is of an hour later now
		blocked, err := d.BlockedChats(ctx)
		d.must(err)
		if wait := time.Until(blocked[1]); wait < 50*time.Second || wait > time.Minute {
			t.Errorf("it waits for %v", wait)
		}
		d.must(d.BlockChat(ctx, 1, time.Now().Add(time.Second)))
		blocked, err = d.BlockedChats(ctx)
		d.must(err)
		if wait := time.Until(blocked[1]); wait > time.Second {
			t.Errorf("what was said last is not obeyed: %v", wait)
		}
	})
}
