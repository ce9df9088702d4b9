package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

func TestEveryWriteOfAPastHolderIsRefused(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "x"), command(2, store.KindHelp))
		old := d.Store
		_, err := d.db.Acquire(t.Context(), bot, nil)
		d.must(err)
		ctx := t.Context()
		for name, err := range map[string]error{
			"Beat":          old.Beat(ctx),
			"Ingest":        second(old.Ingest(ctx, []store.NewUpdate{prompt(3, "y")}, began)),
			"Assign":        old.Assign(ctx, turnID(1, 1), worker, "", ""),
			"Unassign":      old.Unassign(ctx, turnID(1, 1)),
			"Accept":        old.Accept(ctx, turnID(1, 1), ""),
			"SetThread":     old.SetThread(ctx, turnID(1, 1), ""),
			"Finish":        second(old.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil)),
			"Interrupt":     old.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil),
			"Restart":       second(old.Restart(ctx, turnID(1, 1))),
			"Resolve":       second(old.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop})),
			"Park":          old.Park(ctx, "telegram:42"),
			"Acknowledged":  old.Acknowledged(ctx, turnID(1, 1)),
			"SettleCommand": old.SettleCommand(ctx, key(2), false, nil),
			"RecoverOutbox": second(old.RecoverOutbox(ctx)),
			"MarkSending":   old.MarkSending(ctx, 1),
			"MarkSent":      second(old.MarkSent(ctx, 1, 1, began)),
			"MarkRetry":     old.MarkRetry(ctx, 1, began, "", false),
			"MarkDead":      second(old.MarkDead(ctx, 1, "")),
			"BlockChat":     old.BlockChat(ctx, chat, began),
			"Prune":         second(old.Prune(ctx, began, 1)),
		} {
			var fenced *store.FencedError
			if !errors.As(err, &fenced) || fenced.BotID != botID || fenced.Epoch != 1 {
				t.Errorf("%s = %v, want a *FencedError", name, err)
			}
		}
		if got := d.state(1); got != store.Queued {
			t.Errorf("state = %s", got)
		}
	})
}

func TestBotsDoNotSeeEachOther(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "x"))
		other, err := d.db.Acquire(t.Context(), store.Bot{ID: 2, Fingerprint: "f"}, nil)
		d.must(err)
		in, err := other.Ingest(t.Context(), []store.NewUpdate{prompt(1, "x")}, began)
		d.must(err)
		if len(in.New) != 1 {
			t.Errorf("in = %+v", in)
		}
		wantStateError(t, other.Assign(t.Context(), turnID(1, 1), worker, "", ""))
		d.must(d.Assign(t.Context(), turnID(1, 1), worker, "", ""))
	})
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), "postgres://user:SECRET@host/db?sslmode=maybe", zap.NewNop())
	var target *sqldb.TargetError
	if !errors.As(err, &target) || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("Open() = %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte("this is a diary and no database, and it is long enough to be read as one all the same, "+
		"for a header of a hundred bytes is what is looked at first of all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = store.Open(t.Context(), path, zap.NewNop()); sqldb.KindOf(err) != sqldb.Corrupt {
		t.Errorf("Open() = %v", err)
	}
}
