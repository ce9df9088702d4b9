package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

func TestASessionMovesWhenItIsIdleAndAsItWasTaken(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(1, "a"), prompt(2, "b"), prompt(3, "c"))
		run := func(id int64) {
			t.Helper()
			d.must(d.Assign(ctx, turnID(id, 1), worker, "j", ""))
			d.must(d.Accept(ctx, turnID(id, 1), "j"))
			d.must(d.SetThread(ctx, turnID(id, 1), "thread"))
		}
		end := func(id int64) {
			t.Helper()
			_, err := d.Finish(ctx, turnID(id, 1), store.Outcome{Name: "succeeded"}, nil)
			d.must(err)
		}
		move := store.Move{SessionID: "telegram:42", From: worker, To: "worker-2", ToJournal: "j2", ThreadID: "thread", LastTurnID: turnID(1, 1)}
		refused := func(why string, m store.Move) {
			t.Helper()
			state := (*store.StateError)(nil)
			if applied, err := d.MoveSession(ctx, m); applied || !errors.As(err, &state) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, %v", why, applied, err)
			}
		}
		run(1)
		refused("running turn", move)
		end(1)
		other := move
		other.ThreadID = "another"
		refused("thread", other)
		other = move
		other.From = "worker-3"
		refused("with worker", other)
		other = move
		other.SessionID = "telegram:1"
		refused("thread", other)
		other = move
		other.LastTurnID = turnID(9, 1)
		refused("turn", other)
		run(2)
		end(2) // since it was exported
		refused("export it again", move)

		move.LastTurnID = turnID(2, 1)
		for _, want := range []bool{true, false} {
			applied, err := d.MoveSession(ctx, move)
			d.must(err)
			if applied != want {
				t.Errorf("applied: %v", applied)
			}
		}
		d.reopen()
		state := (*store.StateError)(nil)
		if err := d.Assign(ctx, turnID(3, 1), worker, "j", ""); !errors.As(err, &state) {
			t.Errorf("what waited runs at the old worker: %v", err)
		}
		d.must(d.Assign(ctx, turnID(3, 1), "worker-2", "j2", ""))
		page, err := d.ListSessions(ctx, 10, "")
		d.must(err)
		want := []store.Session{{ID: "telegram:42", ChatID: 42, ThreadID: "thread", WorkerID: "worker-2", JournalID: "j2", OpenTurns: 1,
			MovedFrom: worker, MovedReason: store.Moved}}
		if diff := cmp.Diff(want, page, cmpopts.IgnoreFields(store.Session{}, "UpdatedAt", "MovedAt")); diff != "" {
			t.Error(diff)
		}
	})
}

// TestAMoveThatCouldNotBeWrittenIsNotApplied: whoever is told so counts it.
func TestAMoveThatCouldNotBeWrittenIsNotApplied(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqlite)
	move := d.exported(1)
	other, err := sqldb.Connect(t.Context(), d.path)
	d.must(err)
	d.must(other.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`CREATE TRIGGER full BEFORE INSERT ON moves BEGIN SELECT RAISE(ABORT, 'full'); END`)
		return err
	}))
	d.must(other.Close())
	if applied, err := d.MoveSession(t.Context(), move); applied || err == nil {
		t.Errorf("MoveSession = %v, %v", applied, err)
	}
}

func TestMetWorkersAreRemembered(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "b", ProcessID: "1", Starts: 1}))
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "a", ProcessID: "1"}))
		d.must(d.MeetWorker(ctx, store.KnownWorker{WorkerID: "b", ProcessID: "2", Starts: 4, Restarts: 3}))
		d.reopen()
		known, err := d.KnownWorkers(ctx)
		d.must(err)
		want := []store.KnownWorker{{WorkerID: "a", ProcessID: "1"}, {WorkerID: "b", ProcessID: "2", Starts: 4, Restarts: 3}}
		if diff := cmp.Diff(want, known); diff != "" {
			t.Error(diff)
		}
	})
}

// exported has the chat's session run its turns at the worker, one after the other,
// and returns the move of an archive that was made after the last of them.
func (d *desk) exported(updates ...int64) store.Move {
	d.t.Helper()
	move := store.Move{SessionID: "telegram:42", From: worker, To: "worker-2", ToJournal: "j2", ThreadID: "thread"}
	for _, id := range updates {
		d.ingest(prompt(id, "say"))
		move.LastTurnID = d.ran(turnID(id, 1))
	}
	return move
}

// ran has the worker run a turn and returns its id.
func (d *desk) ran(turn string) string {
	d.t.Helper()
	ctx := d.t.Context()
	d.must(d.Assign(ctx, turn, worker, "j", ""))
	d.must(d.Accept(ctx, turn, "j"))
	d.must(d.SetThread(ctx, turn, "thread"))
	d.must(second(d.Finish(ctx, turn, store.Outcome{Name: "succeeded"}, nil)))
	d.must(d.Acknowledged(ctx, turn))
	return turn
}

// wantMove tries a move; refused is part of what a refusal says, empty: it is made.
func (d *desk) wantMove(m store.Move, refused string) {
	d.t.Helper()
	applied, err := d.MoveSession(d.t.Context(), m)
	if refused == "" {
		d.must(err)
		if !applied {
			d.t.Error("not moved")
		}
		return
	}
	if state := (*store.StateError)(nil); applied || !errors.As(err, &state) || !strings.Contains(err.Error(), refused) {
		d.t.Errorf("moved: %v, %v; want a refusal with %q", applied, err, refused)
	}
}

// What a session ran last is known for longer than its turns are kept.
func TestASessionMovesThoughItsTurnsWerePruned(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		older := d.exported(1)
		move := d.exported(2)
		if n, err := d.Prune(t.Context(), time.Now().Add(2*store.KeepFor), 1000); err != nil || n != 2 {
			t.Fatalf("pruned %d, %v", n, err)
		}
		d.wantMove(older, "export it again")
		d.wantMove(move, "")
	})
}

// A turn that was interrupted before its worker had confirmed it may have run there.
func TestATurnInDoubtIsMissingInAnEarlierArchive(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		move := d.exported(1)
		d.ingest(prompt(2, "perhaps"))
		d.must(d.Assign(ctx, turnID(2, 1), worker, "j", ""))
		d.must(d.Interrupt(ctx, turnID(2, 1), false, store.Outcome{Name: "interrupted"}, nil))
		d.wantMove(move, "at turn "+turnID(2, 1))
		_, err := d.Resolve(ctx, turnID(2, 1), store.Decision{Choice: store.Drop})
		d.must(err)
		d.wantMove(move, "at turn "+turnID(2, 1))
		move.LastTurnID = turnID(2, 1) // it did run there
		d.wantMove(move, "")
	})
}

// A turn that its worker refused is in no archive.
func TestATurnThatWasRefusedKeepsNoSession(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		move := d.exported(1)
		d.ingest(prompt(2, "refused"))
		d.must(d.Assign(t.Context(), turnID(2, 1), worker, "j", ""))
		d.must(second(d.Finish(t.Context(), turnID(2, 1), store.Outcome{Name: "failed"}, nil)))
		d.wantMove(move, "")
	})
}

// What ran last need not be what was written last, and no clock says which it was.
func TestAnArchiveIsComparedWithWhatRanLast(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		ctx := t.Context()
		d.ingest(prompt(9, "first"))
		d.must(d.Assign(ctx, turnID(9, 1), worker, "j", ""))
		d.must(d.Accept(ctx, turnID(9, 1), "j"))
		d.must(d.Interrupt(ctx, turnID(9, 1), false, store.Outcome{Name: "interrupted"}, nil))
		move := d.exported(10, 11)
		_, err := d.Resolve(ctx, turnID(9, 1), store.Decision{Choice: store.Again})
		d.must(err)
		again := move
		again.LastTurnID = d.ran(turnID(9, 2))
		d.wantMove(move, "at turn "+turnID(9, 2))
		d.wantMove(again, "")
	})
}

// A session that has only come to its worker goes on from there: that worker's
// journal may know an earlier stay of it.
func TestASessionMovesOnWithoutATurn(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := newDesk(t, at)
		move := d.exported(1)
		d.wantMove(move, "")
		back := store.Move{SessionID: move.SessionID, From: move.To, To: worker, ToJournal: "j", ThreadID: "thread"}
		d.wantMove(back, "")
		d.wantMove(move, "")
	})
}

// A store of a program that did not note what ran last knows it from its turns.
func TestWhatRanLastInAnOlderStore(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		d := &desk{t: t, path: at(t)}
		d.older(4, `INSERT INTO bots VALUES (1000000, 'bot', 1, 0)`,
			`INSERT INTO sessions VALUES (1000000, 'telegram:42', 42, 0, 'thread', 'worker-1', 'j', 0, 0, 0, 0, 0, 0)`,
			olderTurn(1, "FINISHED", 1), olderTurn(2, "INTERRUPTED", 0), olderTurn(3, "FINISHED", 0))
		d.db, d.Store = open(t, d.path)
		defer d.db.Close()
		move := store.Move{SessionID: "telegram:42", From: worker, To: "worker-2", ToJournal: "j2", ThreadID: "thread", LastTurnID: turnID(1, 1)}
		d.wantMove(move, "at turn "+turnID(2, 1))
		move.LastTurnID = turnID(2, 1)
		d.wantMove(move, "")
	})
}

// olderTurn is the row of a turn of the chat's session, after four migrations.
func olderTurn(id int64, state string, accepted int) string {
	return fmt.Sprintf(`INSERT INTO turns VALUES ('%s', 1000000, 1, %d, 1, 'telegram:42', '', '%s', 'thread', 'worker-1', 'j', '', 0,
		'x', '', '', 0, 0, 0, 0, 0, '', 0, 0, 1, %d, %d, 9, 9)`, turnID(id, 1), id, state, id, accepted)
}
