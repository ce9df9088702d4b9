package store_test

import (
	"testing"

	"telecodex.dev/services/gateway/internal/store"
)

// TestAThreadIsGivenUpOnlyForAnother: what kept a thread from being resumed may
// keep a new one from being opened, too, and be over later.
func TestAThreadIsGivenUpOnlyForAnother(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"), prompt(3, "c"))
		ctx := t.Context()
		notice := store.Message{Kind: store.Notice, Text: "a new thread"}
		restarted := func(update int64) {
			d.must(d.Assign(ctx, turnID(update, 1), worker, "j", ""))
			_, err := d.Restart(ctx, turnID(update, 1))
			d.must(err)
			d.must(d.Assign(ctx, turnID(update, 2), worker, "j", ""))
		}
		has := func(thread string, messages int) {
			t.Helper()
			sess, err := d.Session(ctx, "telegram:42")
			d.must(err)
			if sess.ThreadID != thread {
				t.Errorf("the session's thread is %q, want %q", sess.ThreadID, thread)
			}
			if sent := d.sendAll()[chat]; len(sent) != messages {
				t.Errorf("sent %q, want %d", sent, messages)
			}
		}
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "old", notice))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil)))

		restarted(2)
		d.must(second(d.Finish(ctx, turnID(2, 2), store.Outcome{Name: "failed"}, nil)))
		d.reopen()
		has("old", 0)

		restarted(3)
		has("old", 0)
		for range 2 { // a crash may repeat it
			d.must(d.SetThread(ctx, turnID(3, 2), "new", notice))
		}
		has("new", 1)
	})
}
