package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
)

// finished is a desk with update 1 finished and these messages waiting.
func finished(t *testing.T, at place, messages ...store.Message) *desk {
	t.Helper()
	d := newDesk(t, at)
	d.ingest(prompt(1, "a"))
	d.must(second(d.Finish(t.Context(), turnID(1, 1), store.Outcome{Name: "succeeded", ErrorCode: "c", ErrorMessage: "m"}, messages)))
	return d
}

func (d *desk) next() store.Outgoing {
	d.t.Helper()
	m, ok, err := d.NextMessage(d.t.Context(), chat)
	d.must(err)
	if !ok {
		d.t.Fatal("no message waits")
	}
	return m
}

func TestMessageKeepsAllItSays(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		want := store.Message{Kind: store.Question, Text: "caption", ReplyTo: 9, Markup: json.RawMessage(`{"a": 1}`),
			Document: &store.Document{Name: "answer.md", Content: []byte("a\x00b\xff")}}
		d := finished(t, at, want)
		d.reopen()
		got := d.next()
		if diff := cmp.Diff(want, got.Message); diff != "" {
			t.Error(diff)
		}
		if got.ID != 1 || got.Key != key(1) || got.TurnID != turnID(1, 1) || got.ChatID != chat || got.Group || got.State != store.Pending {
			t.Errorf("message = %+v", got)
		}
	})
}

func TestUpdateIsDeliveredWithItsLastMessage(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := finished(t, at, store.Message{Kind: store.Answer, Text: "1"}, store.Message{Kind: store.Answer, Text: "2"})
		ctx := t.Context()
		for i, want := range []store.SentResult{
			{Key: key(1), TurnID: turnID(1, 1), More: true},
			{Key: key(1), TurnID: turnID(1, 1), Settled: true, ReceivedAt: began.Add(time.Second), Answered: true},
		} {
			m := d.next()
			d.must(d.MarkSending(ctx, m.ID))
			if _, ok, err := d.NextMessage(ctx, chat); ok || err != nil {
				t.Errorf("while one is being sent, the next is shown: %v", err)
			}
			got, err := d.MarkSent(ctx, m.ID, 100, began)
			d.must(err)
			want.Outcome = store.Outcome{Name: "succeeded", ErrorCode: "c", ErrorMessage: "m"}
			if want.More {
				want.Next = d.next()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("message %d: %s", i+1, diff)
			}
			d.reopen()
			again, err := d.MarkSent(ctx, m.ID, 100, began)
			d.must(err)
			if again.Settled {
				t.Error("the same message settles its update twice")
			}
		}
		if got := d.state(1); got != store.Delivered {
			t.Errorf("state = %s", got)
		}
	})
}

func TestDeadLetterSettlesButDoesNotAnswer(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := finished(t, at, answer("x")...)
		ctx := t.Context()
		m := d.next()
		d.must(d.MarkSending(ctx, m.ID))
		got, err := d.MarkDead(ctx, m.ID, "400 chat not found")
		d.must(err)
		if !got.Settled || got.Answered || got.DeadLetters != 1 {
			t.Errorf("result = %+v", got)
		}
		wantStateError(t, d.MarkSending(ctx, m.ID))
		_, err = d.MarkSent(ctx, m.ID, 1, began)
		wantStateError(t, err)
		wantStateError(t, d.MarkRetry(ctx, m.ID, began, "", false))
		_, err = d.MarkDead(ctx, 99, "")
		wantStateError(t, err)
		if again, err := d.MarkDead(ctx, m.ID, "again"); err != nil || again.Settled {
			t.Errorf("again = %+v, %v", again, err)
		}
	})
}

func TestMessageBeingSentDuringACrashIsInDoubt(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := finished(t, at, store.Message{Kind: store.Answer, Text: "1"}, store.Message{Kind: store.Answer, Text: "2"})
		ctx := t.Context()
		d.must(d.MarkSending(ctx, 1))
		d.reopen()
		inDoubt, err := d.RecoverOutbox(ctx)
		d.must(err)
		if len(inDoubt) != 1 || inDoubt[0].ID != 1 || inDoubt[0].Doubts != 1 || inDoubt[0].State != store.Pending || inDoubt[0].Reason != store.InDoubt {
			t.Fatalf("in doubt: %+v", inDoubt)
		}
		if m := d.next(); m.ID != 1 || m.Doubts != 1 || m.Attempts != 1 {
			t.Errorf("next = %+v", m)
		}
		if inDoubt, err = d.RecoverOutbox(ctx); err != nil || len(inDoubt) != 0 {
			t.Errorf("a second recovery finds %+v, %v", inDoubt, err)
		}
		d.sendAll()
		trace, err := d.Trace(ctx, 1, 0)
		d.must(err)
		if o := trace.Outbox[0]; o.Doubts != 1 || o.Attempts != 2 || o.SentMessageID != 501 || o.State != store.Sent {
			t.Errorf("trace = %+v", o)
		}
	})
}

func TestRetryKeepsItsPlaceAndItsDoubt(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := finished(t, at, store.Message{Kind: store.Answer, Text: "1"}, store.Message{Kind: store.Answer, Text: "2"})
		ctx := t.Context()
		later := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		wantStateError(t, d.MarkRetry(ctx, 1, later, "429", false))
		d.must(d.MarkSending(ctx, 1))
		d.must(d.MarkRetry(ctx, 1, later, "timeout", true))
		d.reopen()
		if m := d.next(); m.ID != 1 || !m.NotBefore.Equal(later) || m.Doubts != 1 || m.Reason != "timeout" {
			t.Errorf("next = %+v", m)
		}
		d.must(d.MarkSending(ctx, 1))
		d.must(d.MarkRetry(ctx, 1, later, "429", false))
		if m := d.next(); m.Doubts != 1 || m.Attempts != 2 {
			t.Errorf("a later refusal changed the doubt: %+v", m)
		}
		d.must(d.MarkSending(ctx, 1))
		d.reopen()
		if _, err := d.RecoverOutbox(ctx); err != nil {
			t.Fatal(err)
		}
		if m := d.next(); m.Doubts != 2 || m.Attempts != 3 {
			t.Errorf("another call in doubt: %+v", m)
		}
	})
}

func TestChatsAreIndependentAndInOrder(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		for id := int64(1); id <= 6; id++ {
			u := prompt(id, fmt.Sprint(id))
			u.ChatID = 40 + id%2
			u.Private = id%2 == 0
			u.SessionID = fmt.Sprintf("telegram:%d", u.ChatID)
			d.ingest(u)
			d.must(second(d.Finish(t.Context(), turnID(id, 1), store.Outcome{Name: "succeeded"}, answer(fmt.Sprint(id)))))
		}
		chats, err := d.PendingChats(t.Context())
		d.must(err)
		if diff := cmp.Diff([]int64{40, 41}, chats); diff != "" {
			t.Error(diff)
		}
		m, _, err := d.NextMessage(t.Context(), 41)
		d.must(err)
		if !m.Group {
			t.Error("a group's message is not marked as one")
		}
		if diff := cmp.Diff(map[int64][]string{40: {"2", "4", "6"}, 41: {"1", "3", "5"}}, d.sendAll()); diff != "" {
			t.Error(diff)
		}
		if chats, err = d.PendingChats(t.Context()); err != nil || len(chats) != 0 {
			t.Errorf("pending chats %v, %v", chats, err)
		}
	})
}

func TestBlockedChatsOutliveARestart(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		until := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		d.must(d.BlockChat(ctx, 40, until))
		d.must(d.BlockChat(ctx, 40, until.Add(-time.Minute)))
		d.must(d.BlockChat(ctx, 41, time.Now().Add(-time.Second)))
		d.reopen()
		blocked, err := d.BlockedChats(ctx)
		d.must(err)
		if diff := cmp.Diff(map[int64]time.Time{40: until}, blocked); diff != "" {
			t.Error(diff)
		}
	})
}
