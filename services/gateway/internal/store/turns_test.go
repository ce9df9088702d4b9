package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
)

// ways leads update 1's turn into each state.
var ways = []struct {
	state string
	steps []string
}{
	{"QUEUED", nil},
	{"ASSIGNED", []string{"assign"}},
	{"ACCEPTED", []string{"assign", "accept"}},
	{"FINISHED", []string{"assign", "accept", "finish"}},
	{"DELIVERED", []string{"assign", "accept", "finish", "send"}},
	{"INTERRUPTED", []string{"assign", "accept", "interrupt"}},
	{"DROPPED", []string{"assign", "accept", "interrupt", "drop"}},
}

// step does one thing to the first turn of an update.
func (d *desk) step(ctx context.Context, name string, update int64) (err error) {
	id := turnID(update, 1)
	switch name {
	case "assign":
		err = d.Assign(ctx, id, worker, "journal-0", "")
	case "unassign":
		err = d.Unassign(ctx, id)
	case "accept":
		err = d.Accept(ctx, id, "journal-1")
	case "thread":
		err = d.SetThread(ctx, id, "thread-1")
	case "finish":
		_, err = d.Finish(ctx, id, store.Outcome{Name: "succeeded"}, answer("done"))
	case "interrupt":
		err = d.Interrupt(ctx, id, false, store.Outcome{Name: "interrupted"}, answer("what now?"))
	case "restart":
		_, err = d.Restart(ctx, id)
	case "again":
		_, err = d.Resolve(ctx, id, store.Decision{Choice: store.Again})
	case "drop":
		_, err = d.Resolve(ctx, id, store.Decision{Choice: store.Drop})
	case "acknowledge":
		err = d.Acknowledged(ctx, id)
	case "send":
		d.send(1000 + update)
	}
	return err
}

// cell is one step from one state, in a session of its own.
type cell struct {
	step, from, to string // to is empty where the step is refused
	way            []string
	update         int64
	before, once   snapshot
}

func (c *cell) name() string { return c.step + " from " + c.from }

// TestEveryStepFromEveryState does each step in each state, twice, with a crash
// before each: the second one changes nothing, and a refusal neither.
func TestEveryStepFromEveryState(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		const no = "" // refused
		d := newDesk(t, at)
		var cells []*cell
		for step, row := range map[string][]string{
			//              QUEUED      ASSIGNED      ACCEPTED      FINISHED    DELIVERED    INTERRUPTED    DROPPED
			"assign":      {"ASSIGNED", "ASSIGNED", no, no, no, no, no},
			"unassign":    {"QUEUED", "QUEUED", no, no, no, no, no},
			"accept":      {no, "ACCEPTED", "ACCEPTED", no, no, no, no},
			"thread":      {no, "ASSIGNED", "ACCEPTED", no, no, no, no},
			"finish":      {"FINISHED", "FINISHED", "FINISHED", "FINISHED", "DELIVERED", no, no},
			"interrupt":   {no, "INTERRUPTED", "INTERRUPTED", no, no, "INTERRUPTED", "DROPPED"},
			"restart":     {no, "QUEUED", "QUEUED", no, no, no, no},
			"again":       {no, no, no, no, no, "QUEUED", "DROPPED"},
			"drop":        {no, no, no, no, no, "DROPPED", "DROPPED"},
			"acknowledge": {no, no, no, "FINISHED", "DELIVERED", "INTERRUPTED", "DROPPED"},
		} {
			for i, to := range row {
				c := &cell{step: step, from: ways[i].state, to: to, way: ways[i].steps, update: int64(len(cells) + 1)}
				d.lead(c)
				cells = append(cells, c)
			}
		}
		d.reopen()
		for _, c := range cells {
			t.Run(c.name(), func(t *testing.T) { d.first(t, c) })
		}
		d.reopen()
		for _, c := range cells {
			if c.to == no {
				continue
			}
			t.Run(c.name()+" again", func(t *testing.T) {
				if err := d.step(t.Context(), c.step, c.update); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.once, d.snapshot(c.update)); diff != "" {
					t.Errorf("doing it again changed\n%s", diff)
				}
			})
		}
	})
}

// lead brings an update into the state a cell begins in.
func (d *desk) lead(c *cell) {
	d.t.Helper()
	u := prompt(c.update, "hello")
	u.ChatID = 1000 + c.update
	u.SessionID = sessionOf(c.update)
	d.ingest(u)
	for _, s := range c.way {
		d.must(d.step(d.t.Context(), s, c.update))
	}
	if got := d.state(c.update); string(got) != c.from {
		d.t.Fatalf("the way leads to %s, not %s", got, c.from)
	}
	c.before = d.snapshot(c.update)
}

func (d *desk) first(t *testing.T, c *cell) {
	err := d.step(t.Context(), c.step, c.update)
	if c.to == "" {
		wantStateError(t, err)
		if diff := cmp.Diff(c.before, d.snapshot(c.update)); diff != "" {
			t.Errorf("a refusal changed\n%s", diff)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := d.state(c.update); string(got) != c.to {
		t.Fatalf("state = %s, want %s", got, c.to)
	}
	c.once = d.snapshot(c.update)
}

func sessionOf(update int64) string { return fmt.Sprintf("telegram:%d", 1000+update) }

// snapshot is everything that is stored about an update of its own session.
type snapshot struct {
	Trace   store.Trace
	Session store.Session
	Running bool
}

func (d *desk) snapshot(update int64) (s snapshot) {
	d.t.Helper()
	var err error
	s.Trace, err = d.Trace(d.t.Context(), update, 0)
	d.must(err)
	s.Session, err = d.Session(d.t.Context(), sessionOf(update))
	d.must(err)
	_, s.Running, err = d.RunningTurn(d.t.Context(), sessionOf(update))
	d.must(err)
	if len(s.Trace.Turns) == 1 && s.Trace.Turns[0].State == store.Queued {
		s.Trace.Turns = nil // a waiting turn may have a row or none
	}
	s.Session.UpdatedAt = began // when it was last touched is no state
	return s
}

func TestAssigningPinsTheSession(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		sess, err := d.Session(ctx, "telegram:42")
		d.must(err)
		if sess.WorkerID != worker || sess.JournalID != "j" || sess.OpenTurns != 2 {
			t.Errorf("session = %+v", sess)
		}
		d.must(d.Unassign(ctx, turnID(1, 1)))
		if sess, err = d.Session(ctx, "telegram:42"); err != nil || sess.WorkerID != "" || sess.JournalID != "" {
			t.Errorf("session = %+v, %v", sess, err)
		}
		d.must(d.Assign(ctx, turnID(1, 1), worker, "", ""))
		d.must(d.Accept(ctx, turnID(1, 1), "j1"))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil)))
		wantStateError(t, d.Assign(ctx, turnID(2, 1), "worker-2", "", ""))
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j1", ""))
		// The pin was there before this assignment, so that it stays.
		d.must(d.Unassign(ctx, turnID(2, 1)))
		if sess, err = d.Session(ctx, "telegram:42"); err != nil || sess.WorkerID != worker || sess.JournalID != "j1" {
			t.Errorf("session = %+v, %v", sess, err)
		}
	})
}

func TestOnlyTheHeadOfALaneIsAssigned(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		other := prompt(3, "c")
		other.SessionID, other.ChatID = "telegram:43", 43
		d.ingest(prompt(1, "a"), prompt(2, "b"), other)
		ctx := t.Context()
		wantStateError(t, d.Assign(ctx, turnID(2, 1), worker, "", ""))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "", ""))
		wantStateError(t, d.Assign(ctx, turnID(2, 1), worker, "", ""))
		d.must(d.Assign(ctx, turnID(3, 1), worker, "", ""))
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		d.must(d.Assign(ctx, turnID(2, 1), worker, "", ""))
		// The person decides while the next turn runs: the lane goes back to the
		// older message, but not before the running one has ended.
		next, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Resume, Prompt: "go on"})
		d.must(err)
		if head, _, err := d.Head(ctx, "telegram:42"); err != nil || head.ID != turnID(2, 1) {
			t.Errorf("head = %+v, %v; want the turn that runs", head, err)
		}
		wantStateError(t, d.Assign(ctx, turnID(1, 2), worker, "", ""))
		d.must(second(d.Finish(ctx, turnID(2, 1), store.Outcome{Name: "succeeded"}, nil)))
		head, _, err := d.Head(ctx, "telegram:42")
		d.must(err)
		if head.ID != turnID(1, 2) || head.Prompt != "go on" || next.Next == nil || next.Next.ID != head.ID {
			t.Errorf("head = %+v, next = %+v", head, next)
		}
		d.must(d.Assign(ctx, head.ID, worker, "", ""))
		for _, id := range []string{"", "x", "1-1-1-1", turnID(1, 9), turnID(77, 1), turnID(1, 1) + "0", "1000000-01-1-1"} {
			wantStateError(t, d.Assign(ctx, id, worker, "", ""))
		}
	})
}

// A decision in words is about the turn that was interrupted when it was received,
// however often it is handled.
func TestADecisionInWordsIsAboutOneTurn(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		ctx := t.Context()
		decision := func(id int64) store.NewUpdate {
			u := prompt(id, store.Drop)
			u.Kind = store.KindResolve
			return u
		}
		d.ingest(decision(3))
		for n := range int64(2) {
			d.must(d.Assign(ctx, turnID(n+1, 1), worker, "j", ""))
			d.must(d.Interrupt(ctx, turnID(n+1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		}
		d.ingest(decision(4), decision(5), decision(6))
		commands, err := d.Commands(ctx)
		d.must(err)
		var about []string
		for _, c := range commands {
			about = append(about, c.TurnID)
		}
		if diff := cmp.Diff([]string{"", turnID(2, 1), turnID(1, 1), ""}, about); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnpinFreesTheSessionOfAWaitingTurn(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "thread-1"))
		refused := (*store.StateError)(nil)
		if _, err := d.Unpin(ctx, turnID(1, 1), worker, store.Gone, nil); !errors.As(err, &refused) {
			t.Errorf("of a turn that runs: %v", err)
		}
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		gone := []store.Message{{Kind: store.Notice, Text: "gone"}}
		for _, tt := range []struct{ of, holder string }{{"another", worker}, {worker, ""}, {worker, ""}} { // the last as after a crash
			holder, err := d.Unpin(ctx, turnID(2, 1), tt.of, store.Gone, gone)
			if d.must(err); holder != tt.holder {
				t.Errorf("taken from %q, it is held by %q", tt.of, holder)
			}
		}
		d.reopen()
		sess, err := d.Session(ctx, "telegram:42")
		d.must(err)
		if sess.WorkerID != "" || sess.ThreadID != "" {
			t.Errorf("session = %+v", sess)
		}
		if sent := d.sendAll()[chat]; len(sent) != 1 {
			t.Errorf("sent %q", sent)
		}
		d.must(d.Assign(ctx, turnID(2, 1), "another", "j", ""))
	})
}

func TestRestartOfAResumedTurnDoesNotBeginAnew(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "the task"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		_, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Resume, Prompt: "finish the task"})
		d.must(err)
		d.must(d.Assign(ctx, turnID(1, 2), worker, "j", ""))
		next, err := d.Restart(ctx, turnID(1, 2))
		d.must(err)
		if next.ID != turnID(1, 3) || next.Prompt != "finish the task" {
			t.Errorf("next = %+v", next)
		}
	})
}

func TestRestartQueuesTheSamePromptForANewThread(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "thread-1"))
		next, err := d.Restart(ctx, turnID(1, 1))
		d.must(err)
		d.reopen()
		head, _, err := d.Head(ctx, "telegram:42")
		d.must(err)
		if diff := cmp.Diff(next, head); diff != "" {
			t.Error(diff)
		}
		if head.ID != turnID(1, 2) || head.Prompt != "a" || head.ThreadID != "" {
			t.Errorf("head = %+v", head)
		}
		sess, err := d.Session(ctx, "telegram:42")
		d.must(err)
		if sess.ThreadID != "thread-1" || sess.WorkerID != worker {
			t.Errorf("session = %+v", sess)
		}
		if sent := d.sendAll()[chat]; len(sent) != 0 {
			t.Errorf("sent %q", sent)
		}
		if l, err := d.Load(ctx, "telegram:42"); err != nil || !l.Fresh {
			t.Errorf("lane = %+v, %v", l, err)
		}
		d.must(d.Assign(ctx, head.ID, worker, "j", ""))
		if head, _, err = d.Head(ctx, "telegram:42"); err != nil || head.ThreadID != "" {
			t.Errorf("the next attempt resumes thread %q, %v", head.ThreadID, err)
		}
		unacknowledged, err := d.Unacknowledged(ctx)
		d.must(err)
		if len(unacknowledged) != 1 || unacknowledged[0].ID != turnID(1, 1) {
			t.Errorf("unacknowledged = %+v", unacknowledged)
		}
		d.must(d.Acknowledged(ctx, turnID(1, 1)))
		if unacknowledged, err = d.Unacknowledged(ctx); err != nil || len(unacknowledged) != 0 {
			t.Errorf("unacknowledged = %+v, %v", unacknowledged, err)
		}
	})
}

func TestInterruptWithALostDiskFreesTheSession(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.SetThread(ctx, turnID(1, 1), "thread-1"))
		d.must(d.Interrupt(ctx, turnID(1, 1), true, store.Outcome{Name: "interrupted", ErrorCode: "turn-interrupted"}, nil))
		sess, err := d.Session(ctx, "telegram:42")
		d.must(err)
		if sess.ThreadID != "" || sess.WorkerID != "" || sess.JournalID != "" {
			t.Errorf("session = %+v", sess)
		}
		turn, ok, err := d.InterruptedTurn(ctx, "telegram:42")
		d.must(err)
		if !ok || turn.ID != turnID(1, 1) || turn.ThreadID != "thread-1" || turn.ErrorCode != "turn-interrupted" {
			t.Errorf("interrupted = %+v, %v", turn, ok)
		}
	})
}

func TestTheFirstDecisionHolds(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"))
		ctx := t.Context()
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		if _, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: "perhaps"}); err == nil {
			t.Error("an unknown choice was taken")
		}
		first, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Again})
		d.must(err)
		if !first.Applied || first.Next == nil || first.Next.Prompt != "a" || first.Next.Attempt != 2 {
			t.Errorf("first = %+v", first)
		}
		d.reopen()
		second, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop})
		d.must(err)
		if second.Applied || second.Choice != store.Again || second.Next == nil || second.Next.ID != turnID(1, 2) {
			t.Errorf("second = %+v", second)
		}
		if _, ok, err := d.InterruptedTurn(ctx, "telegram:42"); ok || err != nil {
			t.Errorf("still interrupted: %v, %v", ok, err)
		}
	})
}

func TestFinishingWithAnotherOutcomeIsRefused(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "a"))
		d.must(second(d.Finish(t.Context(), turnID(1, 1), store.Outcome{Name: "cancelled", ErrorMessage: "a\x00b"}, nil)))
		if got := d.state(1); got != store.Delivered {
			t.Errorf("without messages the update is %s", got)
		}
		wantStateError(t, second(d.Finish(t.Context(), turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("x"))))
		var state *store.StateError
		err := d.Interrupt(t.Context(), turnID(1, 1), false, store.Outcome{}, nil)
		if !errors.As(err, &state) || state.Have != "FINISHED" {
			t.Errorf("Interrupt() = %v", err)
		}
	})
}
