package store_test

import (
	"slices"
	"testing"

	"telecodex.dev/services/gateway/internal/store"
)

func TestPostponeQueuesTheNextAttemptWithItsPrompt(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		failed := store.Outcome{Name: "failed", ErrorCode: "codex-exec-failed", ErrorMessage: "spawn"}
		d.ingest(prompt(1, "one"))
		_, err := d.Postpone(ctx, turnID(1, 1), failed)
		wantStateError(t, err)

		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.Accept(ctx, turnID(1, 1), "j"))
		for range 2 { // a commit of which nobody knows is made again
			next, err := d.Postpone(ctx, turnID(1, 1), failed)
			if err != nil || next.ID != turnID(1, 2) || next.Prompt != "one" || next.State != store.Queued {
				t.Fatalf("next = %+v, %v", next, err)
			}
		}
		if s, err := d.Session(ctx, "telegram:42"); err != nil || s.WorkerID != "" || s.OpenTurns != 1 {
			t.Errorf("the session is not free: %+v, %v", s, err)
		}
		if d.state(1) != store.Queued {
			t.Errorf("state = %s", d.state(1))
		}

		// With a thread the session stays where that is.
		d.must(d.Assign(ctx, turnID(1, 2), "worker-2", "k", ""))
		d.must(d.Accept(ctx, turnID(1, 2), "k"))
		d.must(d.SetThread(ctx, turnID(1, 2), "thread"))
		d.must(d.Interrupt(ctx, turnID(1, 2), false, store.Outcome{Name: "interrupted"}, nil))
		if _, err := d.Resolve(ctx, turnID(1, 2), store.Decision{Choice: store.Resume, Prompt: "go on"}); err != nil {
			t.Fatal(err)
		}
		d.must(d.Assign(ctx, turnID(1, 3), "worker-2", "k", ""))
		next, err := d.Postpone(ctx, turnID(1, 3), failed)
		if err != nil || next.Prompt != "go on" {
			t.Errorf("next = %+v, %v", next, err)
		}
		if s, err := d.Session(ctx, "telegram:42"); err != nil || s.WorkerID != "worker-2" || s.ThreadID != "thread" {
			t.Errorf("session = %+v, %v", s, err)
		}
	})
}

func TestRenewMakesAPromptInANewThread(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		wish := command(2, store.KindNew)
		wish.Text = "what to do"
		bare := command(3, store.KindNew)
		bare.Text = ""
		d.ingest(prompt(1, "one"), wish, bare)
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "thread"))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil)))
		for range 2 {
			d.must(d.Renew(ctx, key(2)))
		}
		lane, err := d.Load(ctx, "telegram:42")
		if err != nil || lane.Turn.Kind != store.KindPrompt || lane.Turn.Prompt != "what to do" || lane.Session.ThreadID != "" || lane.Session.WorkerID != "" {
			t.Errorf("lane = %+v, %v", lane, err)
		}
		for _, id := range []int64{1, 9} {
			if err := d.Renew(ctx, key(id)); (err == nil) != (id == 1) {
				t.Errorf("update %d: %v", id, err)
			}
		}
		wantStateError(t, d.Renew(ctx, key(3))) // it came without a prompt
	})
}

func TestWhatWaitsIsToldOnce(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		tell := func(want bool) {
			t.Helper()
			if told, err := d.Tell(ctx, "telegram:42", "it waits"); told != want || err != nil {
				t.Errorf("told = %v, %v, want %v", told, err, want)
			}
		}
		tell(false)
		d.ingest(prompt(1, "one"), prompt(2, "two"))
		tell(true)
		tell(false)
		d.reopen()
		tell(false)
		m, ok, err := d.NextMessage(ctx, chat)
		if err != nil || !ok || m.Key != key(2) || m.ReplyTo != 2 || m.Kind != store.Notice {
			t.Errorf("message = %+v, %v", m, err)
		}
		if sent := d.send(chat); !slices.Equal(sent, []string{"it waits"}) || d.state(2) != store.Queued {
			t.Errorf("sent %q, state %s", sent, d.state(2))
		}
		d.ingest(prompt(3, "three"))
		tell(true)
	})
}
