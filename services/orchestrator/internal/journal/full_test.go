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
