package journal_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestFullDiskIsReportedToEveryoneAndLeavesTheJournalUsable(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	r, log := accept(t, j, "t1")
	wait(t, log, texts("t1", 1, 10, 100), journal.Update{})
	if err := j.LimitPages(t.Context(), 20); err != nil {
		t.Fatal(err)
	}

	first, second := make(chan error, 1), make(chan error, 1)
	lost := texts("t1", 11, 5, 60_000)
	if err := log.Append(lost, journal.Update{}, func(err error) { first <- err }); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(texts("t1", 16, 1, 1), journal.Update{}, func(err error) { second <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-first; sqldb.KindOf(err) != sqldb.Full {
		t.Errorf("the commit that did not fit: %v", err)
	}
	if err := <-second; sqldb.KindOf(err) != sqldb.Full && !errors.Is(err, journal.ErrGap) {
		t.Errorf("the append behind it: %v", err)
	}
	if got := get(t, j, "t1").LastSequence; got != 10 {
		t.Errorf("last sequence is %d", got)
	}
	if _, _, err := j.Accept(journal.NewTurn{TurnID: string(make([]byte, 200_000)), Created: epoch}); sqldb.KindOf(err) != sqldb.Full {
		t.Errorf("Accept() = %v", err)
	}

	if err := j.LimitPages(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wait(t, log, lost, journal.Update{})
	if want := append(texts("t1", 1, 10, 100), lost...); !bytes.Equal(encoded(want), encoded(readAll(t, j, r.Row, 0))) {
		t.Error("the events differ after the disk was freed")
	}
}

func TestADiskThatBecomesReadOnlyIsNamedAndLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	r, log := accept(t, j, "t1")
	wait(t, log, texts("t1", 1, 2, 10), journal.Update{})
	if err := j.ReadOnly(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := commit(log, texts("t1", 3, 1, 10), journal.Update{}); sqldb.KindOf(err) != sqldb.ReadOnly {
		t.Errorf("the commit: %v", err)
	}
	if _, _, err := j.Accept(journal.NewTurn{TurnID: "t2", Created: epoch}); sqldb.KindOf(err) != sqldb.ReadOnly {
		t.Errorf("Accept() = %v", err)
	}
	if n := len(readAll(t, j, r.Row, 0)); n != 2 {
		t.Errorf("%d events are read", n)
	}
	j = open(t, path)
	_, logs, err := j.Unfinished(t.Context())
	if err != nil || len(logs) != 1 {
		t.Fatalf("%d turns are unfinished, %v", len(logs), err)
	}
	wait(t, logs[0], texts("t1", 3, 1, 10), journal.Update{})
	if n := len(readAll(t, j, r.Row, 0)); n != 3 {
		t.Errorf("then %d events are read", n)
	}
}
