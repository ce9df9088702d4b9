package store_test

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
)

func TestADecidedQuestionIsOutdatedUntilItIsAmended(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d, ctx := newDesk(t, at), t.Context()
		wantOutdated := func(want ...store.Outgoing) {
			t.Helper()
			got, err := d.Outdated(ctx)
			d.must(err)
			if len(got) != len(want) {
				t.Fatalf("%d messages are outdated, want %d: %+v", len(got), len(want), got)
			}
			for i := range got {
				if got[i].ID != want[i].ID || got[i].Text != "it is dropped" || got[i].ChatID != chat || got[i].SentMessageID != 70+got[i].ID {
					t.Errorf("outdated: %+v", got[i])
				}
			}
		}
		question := []store.Message{{Kind: store.Notice, Text: "notice"}, {Kind: store.Question, Text: "what now?", Markup: []byte(`{"x":1}`)}}
		for id := range int64(3) {
			d.ingest(prompt(id+1, "a"))
			d.must(d.Assign(ctx, turnID(id+1, 1), worker, "j", ""))
			d.must(d.Interrupt(ctx, turnID(id+1, 1), false, store.Outcome{Name: "interrupted"}, question))
		}
		send := func(text string, markup bool) store.Outgoing {
			t.Helper()
			m := d.next()
			if m.Text != text || (m.Markup != nil) != markup {
				t.Errorf("%q is sent with %s, want %q", m.Text, m.Markup, text)
			}
			d.must(d.MarkSending(ctx, m.ID))
			d.must(second(d.MarkSent(ctx, m.ID, 70+m.ID, time.Now())))
			return m
		}
		send("notice", false)
		first := send("what now?", true)
		wantOutdated()
		dropped := store.Decision{Choice: store.Drop, Shown: "it is dropped"}
		d.must(second(d.Resolve(ctx, turnID(1, 1), dropped)))
		wantOutdated(first)
		d.must(second(d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop, Shown: "something else"}))) // it was decided before
		d.reopen()
		wantOutdated(first)
		d.must(d.Amended(ctx, first.ID))
		wantOutdated()

		d.must(second(d.Resolve(ctx, turnID(2, 1), dropped))) // before it was asked
		wantOutdated()
		send("notice", false)
		wantOutdated(send("it is dropped", false))

		send("notice", false)
		asked := d.next()
		d.must(d.MarkSending(ctx, asked.ID))
		d.must(second(d.Resolve(ctx, turnID(3, 1), dropped))) // while it is being asked
		d.must(second(d.MarkSent(ctx, asked.ID, 70+asked.ID, time.Now())))
		all, err := d.Outdated(ctx)
		d.must(err)
		if len(all) != 2 || all[1].ID != asked.ID {
			t.Errorf("outdated: %+v", all)
		}
	})
}

func TestAParkedQuestionIsNotOutdated(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := heldDesk(t, at)
		d.must(d.Park(t.Context(), "telegram:42"))
		if all, err := d.Outdated(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("outdated: %+v, %v", all, err)
		}
	})
}
