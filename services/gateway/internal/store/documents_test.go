package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

const part = store.PartSize

// document is an answer in a file of that many bytes, none like the one before.
func document(size int) store.Message {
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = random.Read(content) // never fails
	return store.Message{Kind: store.Answer, Text: "caption", Document: &store.Document{Name: "answer.md", Content: content}}
}

func (d *desk) wantDocument(m store.Outgoing, want store.Message) {
	d.t.Helper()
	if m.Document == nil || m.Document.Name != "answer.md" || m.Document.Content == nil ||
		!bytes.Equal(m.Document.Content, want.Document.Content) {
		d.t.Errorf("message %d: its document is not the one that was stored", m.ID)
	}
}

func (d *desk) wantParts(want int) {
	d.t.Helper()
	n, err := d.db.Parts(d.t.Context())
	d.must(err)
	if n != want {
		d.t.Errorf("%d parts are stored, not %d", n, want)
	}
}

func TestDocumentIsReadAsItWasStored(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		for size, parts := range map[int]int{0: 0, 1: 1, part - 1: 1, part: 1, part + 1: 2, 2 * part: 2, 5*part + 7: 6} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				want := document(size)
				d := finished(t, at, want, store.Message{Kind: store.Answer, Text: "after"})
				d.wantParts(parts)
				d.reopen()
				m := d.next()
				d.wantDocument(m, want)
				d.must(d.MarkSending(t.Context(), m.ID))
				d.wantParts(parts)
				_, err := d.MarkSent(t.Context(), m.ID, 1, began)
				d.must(err)
				d.wantParts(0)
				if m := d.next(); m.Text != "after" || m.Document != nil {
					t.Errorf("next = %+v", m)
				}
			})
		}
	})
}

func TestDocumentOutlivesEveryCallThatFails(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		want := document(3 * part)
		d := finished(t, at, want)
		ctx := t.Context()
		d.must(d.MarkSending(ctx, 1))
		d.must(d.MarkRetry(ctx, 1, time.Now(), "429", false))
		d.wantDocument(d.next(), want)
		d.must(d.MarkSending(ctx, 1))
		d.reopen()
		d.wantParts(3)
		_, err := d.RecoverOutbox(ctx)
		d.must(err)
		m := d.next()
		d.wantDocument(m, want)
		if m.Doubts == 0 {
			t.Error("the message is not in doubt")
		}
		_, err = d.MarkDead(ctx, 1, "400 chat not found")
		d.must(err)
		d.wantParts(0)
	})
}

func TestDocumentsOfOtherMessagesStay(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		first, second := document(part+1), document(part+2)
		d := finished(t, at, first, second)
		d.wantDocument(d.next(), first)
		d.must(d.MarkSending(t.Context(), 1))
		_, err := d.MarkSent(t.Context(), 1, 1, began)
		d.must(err)
		d.wantParts(2)
		d.wantDocument(d.next(), second)
	})
}

// A person who decides before the question was sent, over the operator's API, has
// yet to be told what happened.
func TestWhatWaitsToBeSentIsNotPruned(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, []store.Message{document(2 * part)}))
		_, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop}) // settles the update, whatever waits of it
		d.must(err)
		d.must(d.Acknowledged(ctx, turnID(1, 1)))
		prune := func(want, parts int) {
			t.Helper()
			if n, err := d.Prune(ctx, time.Now().Add(2*store.KeepFor), 1000); err != nil || n != want {
				t.Errorf("%d updates were removed, not %d: %v", n, want, err)
			}
			d.wantParts(parts)
		}
		prune(0, 2)
		d.must(d.MarkSending(ctx, d.next().ID))
		prune(0, 2)
		d.must(second(d.MarkSent(ctx, 1, 7, time.Now())))
		prune(1, 0)
	})
}

func TestDocumentThatDoesNotFitLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqlite)
	ctx := t.Context()
	d.ingest(prompt(1, "a"))
	want := document(8 * part)
	finish := func() error {
		return second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, []store.Message{want}))
	}
	d.must(d.db.LimitPages(ctx, 4*part/4096)) // half of it fits
	if err := finish(); sqldb.KindOf(err) != sqldb.Full {
		t.Fatalf("Finish() = %v", err)
	}
	d.wantParts(0)
	d.must(d.db.LimitPages(ctx, 1<<20)) // somebody has made room
	d.must(finish())
	d.wantDocument(d.next(), want)
}
