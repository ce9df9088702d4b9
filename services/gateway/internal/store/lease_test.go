package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

// writes does everything that writes, and returns how each went. Hold writes only
// when nothing was written for long, and is not here: it is Beat then.
func writes(ctx context.Context, s *store.Store) map[string]error {
	return map[string]error{
		"Beat":          s.Beat(ctx),
		"Ingest":        second(s.Ingest(ctx, []store.NewUpdate{prompt(3, "y")}, began)),
		"Assign":        s.Assign(ctx, turnID(1, 1), worker, "", ""),
		"Unassign":      s.Unassign(ctx, turnID(1, 1)),
		"Unpin":         second(s.Unpin(ctx, turnID(1, 1), worker, store.Gone, nil)),
		"Accept":        s.Accept(ctx, turnID(1, 1), ""),
		"SetThread":     s.SetThread(ctx, turnID(1, 1), ""),
		"Postpone":      second(s.Postpone(ctx, turnID(1, 1), store.Outcome{Name: "failed"})),
		"Finish":        second(s.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, nil)),
		"Interrupt":     s.Interrupt(ctx, turnID(1, 1), false, store.Outcome{Name: "interrupted"}, nil),
		"Restart":       second(s.Restart(ctx, turnID(1, 1))),
		"Resolve":       second(s.Resolve(ctx, turnID(1, 1), store.Decision{Choice: store.Drop})),
		"Park":          s.Park(ctx, "telegram:42"),
		"Acknowledged":  s.Acknowledged(ctx, turnID(1, 1)),
		"SettleCommand": s.SettleCommand(ctx, key(2), false, nil),
		"Renew":         s.Renew(ctx, key(2)),
		"Tell":          second(s.Tell(ctx, "telegram:42", "it waits")),
		"MoveSession":   second(s.MoveSession(ctx, store.Move{SessionID: "telegram:42", To: worker, ThreadID: "thread"})),
		"MeetWorker":    s.MeetWorker(ctx, store.KnownWorker{WorkerID: worker}),
		"RecoverOutbox": second(s.RecoverOutbox(ctx)),
		"MarkSending":   s.MarkSending(ctx, 1),
		"MarkSent":      second(s.MarkSent(ctx, 1, 1, began)),
		"MarkRetry":     s.MarkRetry(ctx, 1, began, "", false),
		"MarkDead":      second(s.MarkDead(ctx, 1, "")),
		"Amended":       s.Amended(ctx, 1),
		"BlockChat":     s.BlockChat(ctx, chat, began),
		"Migrate":       s.Migrate(ctx, -42, supergroup),
		"Prune":         second(s.Prune(ctx, began, 1)),
		"Release":       s.Release(ctx),
	}
}

// harmless is everything else.
var harmless = []string{
	"CancelTarget", "Commands", "Cursor", "Head", "InterruptedTurn", "KnownWorkers", "ListSessions", "Load", "BlockedChats",
	"NextMessage", "OpenSessions", "OpenWork", "Outdated", "PendingChats", "RunningTurn", "Session", "Stats", "Survey", "Trace",
	"Turn", "Unacknowledged", "Unsent", // these read
	"Bot", "ChatNow", "Conversation", "Epoch", "Name", "Origin", "Silent", "TookOver", // these do not touch the database
	"Hold",
}

func TestEveryWriteOfAPastHolderIsRefused(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		d.ingest(prompt(1, "x"), command(2, store.KindHelp))
		old := d.Store
		_, err := d.db.Acquire(t.Context(), bot, nil)
		d.must(err)
		refused := writes(t.Context(), old)
		for name, err := range refused {
			var fenced *store.FencedError
			if !errors.As(err, &fenced) || fenced.BotID != botID || fenced.Epoch != 1 {
				t.Errorf("%s = %v, want a *FencedError", name, err)
			}
		}
		if got := d.state(1); got != store.Queued {
			t.Errorf("state = %s", got)
		}
		for method := range reflect.TypeFor[*store.Store]().Methods() {
			if _, writes := refused[method.Name]; writes == slices.Contains(harmless, method.Name) {
				t.Errorf("%s has to be either among the writes or among the harmless", method.Name)
			}
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
