package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/store"
)

func TestCommandsAreSettledOnce(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		echo := command(4, store.KindEcho)
		d.ingest(prompt(1, "a"), command(2, store.KindCancel), command(3, store.KindHelp), echo)
		ctx := t.Context()
		d.reopen()
		waiting, err := d.Commands(ctx)
		d.must(err)
		var kinds []store.Kind
		for _, u := range waiting {
			kinds = append(kinds, u.Kind)
		}
		if diff := cmp.Diff([]store.Kind{store.KindCancel, store.KindHelp, store.KindEcho}, kinds); diff != "" {
			t.Error(diff)
		}
		help := []store.Message{{Kind: store.Reply, Text: "help"}}
		d.must(d.SettleCommand(ctx, key(3), false, help))
		d.must(d.SettleCommand(ctx, key(3), false, help))
		d.must(d.SettleCommand(ctx, key(2), false, nil))
		wantStateError(t, d.SettleCommand(ctx, key(1), false, nil))
		wantStateError(t, d.SettleCommand(ctx, key(9), false, nil))
		if got := d.sendAll()[chat]; len(got) != 1 {
			t.Errorf("sent %q", got)
		}
		if d.state(3) != store.Delivered || d.state(2) != store.Delivered {
			t.Errorf("states %s, %s", d.state(3), d.state(2))
		}
		if waiting, err = d.Commands(ctx); err != nil || len(waiting) != 1 {
			t.Errorf("commands = %v, %v", waiting, err)
		}
	})
}

func TestCancelMeansTheOldestOpenTurnBeforeIt(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		target := func(id int64) string {
			t.Helper()
			turn, ok, err := d.CancelTarget(ctx, key(id))
			d.must(err)
			if !ok {
				return ""
			}
			return turn.ID + " " + string(turn.State)
		}
		d.ingest(prompt(1, "a"))
		d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil))) // long after the time of the test's updates
		in, err := d.Ingest(ctx, []store.NewUpdate{prompt(2, "b"), prompt(3, "c"), command(4, store.KindCancel), prompt(5, "d"),
			command(6, store.KindCancel)}, time.Now().Add(time.Millisecond))
		d.must(err)
		if len(in.New) != 5 {
			t.Fatalf("in = %+v", in)
		}
		if got := target(4); got != turnID(2, 1)+" QUEUED" {
			t.Errorf("target = %q", got)
		}
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		if got := target(4); got != turnID(2, 1)+" ASSIGNED" {
			t.Errorf("target = %q", got)
		}
		if _, _, err := d.CancelTarget(ctx, key(77)); err == nil {
			t.Error("an unknown command has a target")
		}
		_, err = d.Ingest(ctx, []store.NewUpdate{{UpdateID: 7, Kind: store.KindCancel, State: store.Queued, Digest: "x",
			SessionID: "telegram:43", ChatID: 43}}, time.Now().Add(time.Millisecond))
		d.must(err)
		if got := target(7); got != "" {
			t.Errorf("target of another session = %q", got)
		}
	})
}

func TestCancelKeepsMeaningATurnThatHasEndedSince(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"), command(3, store.KindCancel)) // received long before they end
		for id := range int64(2) {
			d.must(second(d.Finish(ctx, turnID(id+1, 1), store.Outcome{Name: "succeeded"}, nil)))
			d.reopen()
			turn, ok, err := d.CancelTarget(ctx, key(3))
			d.must(err)
			if !ok || turn.ID != turnID(1, 1) || turn.State != store.Finished {
				t.Errorf("target = %+v, %v", turn, ok)
			}
		}
	})
}

// TestCancelMeansWhatRunsAfterADecision has an older turn wait again, by a
// decision, while a newer one runs.
func TestCancelMeansWhatRunsAfterADecision(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"))
		d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil))
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		_, err := d.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Again})
		d.must(err)
		d.ingest(command(3, store.KindCancel))
		for range 2 {
			turn, ok, err := d.CancelTarget(ctx, key(3))
			d.must(err)
			if !ok || turn.ID != turnID(2, 1) {
				t.Errorf("target = %+v, %v", turn, ok)
			}
			d.must(second(d.Finish(ctx, turnID(2, 1), store.Outcome{Name: "cancelled"}, nil)))
		}
	})
}
