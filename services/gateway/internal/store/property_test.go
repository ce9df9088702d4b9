package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

// chaos does random things to a store, sensible and not, crashes among them,
// and keeps its own account of what must come of it.
type chaos struct {
	*desk
	*rand.Rand
	told      []store.NewUpdate // every update that was committed
	succeeded map[int64]int     // turns that ended well, by update
	sent      []string          // answers, in the order of sending
}

func (c *chaos) sessionOf(id int64) string { return fmt.Sprintf("telegram:%d", 40+id%3) }

// tolerate accepts the refusal of a step, and nothing else.
func (c *chaos) tolerate(err error) bool {
	c.t.Helper()
	var state *store.StateError
	if err != nil && !errors.As(err, &state) {
		c.t.Fatal(err)
	}
	return err == nil
}

func (c *chaos) ingestSome() {
	next := int64(len(c.told) + 1)
	var batch []store.NewUpdate
	for range c.IntN(4) {
		u := prompt(next, fmt.Sprint("prompt ", next))
		u.SessionID, u.ChatID = c.sessionOf(next), 40+next%3
		batch = append(batch, u)
		next++
	}
	fresh := len(batch)
	for range c.IntN(3) {
		if len(c.told) > 0 { // Telegram sends some again
			batch = slices.Insert(batch, c.IntN(len(batch)+1), c.told[c.IntN(len(c.told))])
		}
	}
	in := c.ingest(batch...)
	if len(in.New) != fresh || len(in.Stale) != 0 {
		c.t.Fatalf("of %d new updates %d were stored, %d are stale", fresh, len(in.New), len(in.Stale))
	}
	for _, u := range in.New {
		i := slices.IndexFunc(batch, func(b store.NewUpdate) bool { return b.UpdateID == u.UpdateID })
		c.told = append(c.told, batch[i])
	}
}

// turn picks the head of a lane, or any turn at all.
func (c *chaos) turn() string {
	if c.IntN(4) > 0 {
		if head, ok, err := c.Head(c.t.Context(), c.sessionOf(c.Int64N(3))); err != nil {
			c.t.Fatal(err)
		} else if ok {
			return head.ID
		}
	}
	return turnID(1+c.Int64N(int64(len(c.told)+2)), 1+c.IntN(3))
}

func (c *chaos) advance() {
	ctx, id := c.t.Context(), c.turn()
	switch c.IntN(9) {
	case 0, 1:
		c.tolerate(c.Assign(ctx, id, worker, "j", ""))
	case 2:
		c.tolerate(c.Unassign(ctx, id))
	case 3:
		c.tolerate(c.Accept(ctx, id, "j"))
	case 4:
		c.tolerate(c.SetThread(ctx, id, fmt.Sprint("thread ", c.IntN(3))))
	case 5, 6:
		c.finish(id)
	case 7:
		c.tolerate(c.Interrupt(ctx, id, c.IntN(3) == 0, store.Outcome{Name: "interrupted"}, nil))
	case 8:
		_, err := c.Restart(ctx, id)
		c.tolerate(err)
	}
}

func (c *chaos) finish(id string) {
	var generation, update int64
	_, _ = fmt.Sscanf(id, "1000000-%d-%d-", &generation, &update)
	before := len(c.outbox(update))
	if c.tolerate(second(c.Finish(c.t.Context(), id, store.Outcome{Name: "succeeded"}, answer(fmt.Sprint("answer ", update))))) &&
		len(c.outbox(update)) > before {
		c.succeeded[update]++
	}
}

func (c *chaos) outbox(update int64) []store.Outgoing {
	trace, err := c.Trace(c.t.Context(), update, 0)
	c.tolerate(err)
	return trace.Outbox
}

func (c *chaos) decide() {
	turn, ok, err := c.InterruptedTurn(c.t.Context(), c.sessionOf(c.Int64N(3)))
	c.must(err)
	if !ok {
		return
	}
	choice := []string{store.Resume, store.Again, store.Drop}[c.IntN(3)]
	r, err := c.Resolve(c.t.Context(), turn.ID, store.Decision{Choice: choice})
	c.must(err)
	if !r.Applied {
		c.t.Fatalf("the first decision about %s was not applied", turn.ID)
	}
}

func (c *chaos) deliver() {
	ctx := c.t.Context()
	m, ok, err := c.NextMessage(ctx, 40+c.Int64N(3))
	c.must(err)
	if !ok {
		return
	}
	c.must(c.MarkSending(ctx, m.ID))
	switch c.IntN(4) {
	case 0:
		c.must(c.MarkRetry(ctx, m.ID, began, "429", c.IntN(2) == 0))
	case 1:
		c.restart() // in the middle of the call
	default:
		_, err := c.MarkSent(ctx, m.ID, 1, began)
		c.must(err)
		c.sent = append(c.sent, m.Text)
	}
}

func (c *chaos) restart() {
	c.reopen()
	_, err := c.RecoverOutbox(c.t.Context())
	c.must(err)
}

// heads checks that a lane goes on with what runs in it.
func (c *chaos) heads() {
	for n := range int64(3) {
		running, ok, err := c.RunningTurn(c.t.Context(), c.sessionOf(n))
		c.must(err)
		head, _, err := c.Head(c.t.Context(), c.sessionOf(n))
		c.must(err)
		if ok && head.ID != running.ID {
			c.t.Fatalf("turn %s runs, and its lane goes on with %s", running.ID, head.ID)
		}
	}
}

// conserve checks that every update that was told is accounted for, once.
func (c *chaos) conserve() {
	if tally := c.tally(); tally.Lost() != 0 || tally.Accepted != int64(len(c.told)) {
		c.t.Fatalf("%d updates were told, of which is known %+v", len(c.told), tally)
	}
}

// prune takes away what is settled, and nothing of its account.
func (c *chaos) prune() {
	_, err := c.Prune(c.t.Context(), time.Now().Add(2*store.KeepFor), 1000)
	c.must(err)
	c.conserve()
}

// drain brings everything to its end.
func (c *chaos) drain() {
	ctx := c.t.Context()
	for {
		sessions, err := c.OpenSessions(ctx)
		c.must(err)
		if len(sessions) == 0 {
			break
		}
		for _, id := range sessions {
			head, _, err := c.Head(ctx, id)
			c.must(err)
			c.finish(head.ID)
		}
	}
	for _, texts := range c.sendAll() {
		c.sent = append(c.sent, texts...)
	}
}

func (c *chaos) check() {
	perSession := map[int64]int64{}
	for _, text := range c.sent {
		var id int64
		if _, err := fmt.Sscanf(text, "answer %d", &id); err != nil {
			c.t.Fatalf("sent %q", text)
		}
		perSession[id]++
	}
	for _, u := range c.told {
		trace, err := c.Trace(c.t.Context(), u.UpdateID, 0)
		c.must(err)
		answers := 0
		switch trace.Update.State {
		case store.Delivered:
			answers = 1
		case store.Interrupted, store.Dropped:
		default:
			c.t.Errorf("update %d ended as %s", u.UpdateID, trace.Update.State)
		}
		if c.succeeded[u.UpdateID] != answers || perSession[u.UpdateID] != int64(answers) || trace.Update.Text != u.Text {
			c.t.Errorf("update %d is %s: finished %d times, answered %d times", u.UpdateID, trace.Update.State,
				c.succeeded[u.UpdateID], perSession[u.UpdateID])
		}
		for i, turn := range trace.Turns {
			if turn.Attempt != i+1 || turn.EndedAt.IsZero() {
				c.t.Errorf("update %d has turns %+v", u.UpdateID, trace.Turns)
			}
		}
	}
}

func TestRandomHistoriesLoseNothingAndDoNothingTwice(t *testing.T) {
	t.Parallel()
	random := func(t *testing.T, at place, seeds uint64) {
		for seed := range seeds {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				c := &chaos{desk: newDesk(t, at), Rand: rand.New(rand.NewPCG(seed, 1)), succeeded: map[int64]int{}}
				for range 200 {
					switch n := c.IntN(20); {
					case n < 3:
						c.ingestSome()
					case n < 14:
						c.advance()
					case n < 16:
						c.decide()
					case n < 19:
						c.deliver()
					default:
						c.restart()
					}
					c.heads()
					c.conserve()
				}
				c.drain()
				c.check()
				c.prune()
			})
		}
	}
	t.Run("sqlite", func(t *testing.T) { random(t, sqlite, 4) })
	t.Run("postgres", func(t *testing.T) { random(t, postgres, 2) }) // each step takes longer
}

func TestFullDiskIsNamedAndLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqlite)
	ctx := t.Context()
	d.ingest(prompt(1, "kept"))
	d.must(d.db.LimitPages(ctx, 1)) // less than there is: nothing can be added
	var batch []store.NewUpdate
	for id := int64(2); id < 100; id++ {
		batch = append(batch, prompt(id, strings.Repeat("x", 4096)))
	}
	if _, err := d.Ingest(ctx, batch, time.Now()); sqldb.KindOf(err) != sqldb.Full {
		t.Fatalf("Ingest() = %v", err)
	}
	cursor, err := d.Cursor(ctx)
	d.must(err)
	if cursor.NextOffset != 2 {
		t.Errorf("the cursor has moved to %d", cursor.NextOffset)
	}
	d.must(d.db.LimitPages(ctx, 1<<20)) // somebody has made room
	if in := d.ingest(batch...); len(in.New) != 98 {
		t.Errorf("%d updates were stored", len(in.New))
	}
	if d.state(1) != store.Queued || d.state(99) != store.Queued {
		t.Errorf("states %s, %s", d.state(1), d.state(99))
	}
}
