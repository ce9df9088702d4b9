package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestPruneDropsEventsOfAcknowledgedTurnsAndKeepsIDsLonger(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	rows := map[string]int64{}
	for _, id := range []string{"kept", "dropped"} {
		r, log := accept(t, j, id)
		rows[id] = r.Row
		for i := range 40 {
			wait(t, log, texts(id, i+1, 1, 1000), journal.Update{})
		}
		finish(t, log, id, 41)
	}
	if err := j.Acknowledge("dropped", epoch); err != nil {
		t.Fatal(err)
	}
	prune := func(now time.Time) {
		t.Helper()
		if err := j.Prune(t.Context(), now, 10); err != nil {
			t.Fatal(err)
		}
	}
	prune(epoch)
	if n := len(readAll(t, j, rows["dropped"], 0)); n != 0 {
		t.Errorf("%d events of the acknowledged turn are left", n)
	}
	if n := len(readAll(t, j, rows["kept"], 0)); n != 41 {
		t.Errorf("%d events of the other turn are left", n)
	}
	prune(epoch.Add(30*24*time.Hour - time.Hour))
	if r := get(t, j, "dropped"); r.LastSequence != 41 || r.Finished == nil {
		t.Errorf("the id is kept as %+v", r)
	}
	prune(epoch.Add(30*24*time.Hour + time.Hour))
	if _, err := j.Get(t.Context(), "dropped"); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("the old id: %v", err)
	}
	get(t, j, "kept")
}

func TestPruneKeepsTheNewestIDsOnly(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	const turns, keep = 300, 20
	name := func(i int) string { return fmt.Sprint("turn ", i) }
	for i := range turns {
		_, log := accept(t, j, name(i))
		finish(t, log, name(i), 1)
		if i == 3 { // nobody has stored its outcome
			continue
		}
		if err := j.Acknowledge(name(i), epoch); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the events of all turns are dropped at the same moment
		if err := j.Prune(t.Context(), epoch, keep); err != nil {
			t.Fatal(err)
		}
	}
	var kept []string
	for i := range turns {
		if _, err := j.Get(t.Context(), name(i)); err == nil {
			kept = append(kept, name(i))
		}
	}
	if len(kept) != keep+1 || kept[0] != name(3) || kept[1] != name(turns-keep) {
		t.Errorf("%d are kept: %q", len(kept), kept)
	}
}
