package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestAnUnreadableRowFailsItsOwnCallAlone(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	_, damaged := accept(t, j, "damaged")
	finish(t, damaged, "damaged", 1)
	_, sound := accept(t, j, "sound")
	finish(t, sound, "sound", 1)
	_, running := accept(t, j, "running")
	if err := j.Damage(t.Context(), "damaged"); err != nil {
		t.Fatal(err)
	}

	// While a commit reports back, everything else gathers for one transaction.
	entered, release := make(chan struct{}), make(chan struct{})
	err := running.Append(texts("running", 1, 1, 1), journal.Update{}, func(error) {
		close(entered)
		<-release
	})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	acknowledged := map[string]chan error{"damaged": make(chan error, 1), "sound": make(chan error, 1), "none": make(chan error, 1)}
	for turnID, result := range acknowledged {
		go func() {
			if turnID == "damaged" { // read only when it is asked for again
				_, _, err := j.Accept(journal.NewTurn{TurnID: turnID})
				result <- err
				return
			}
			result <- j.Acknowledge(turnID, epoch)
		}()
	}
	appended := make(chan error, 1)
	if err := running.Append(texts("running", 2, 1, 1), journal.Update{}, func(err error) { appended <- err }); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); j.Calls() < len(acknowledged); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Error("the calls do not gather")
			break
		}
	}
	close(release)

	if err := <-appended; err != nil {
		t.Errorf("the append of another turn: %v", err)
	}
	if err := <-acknowledged["sound"]; err != nil {
		t.Errorf("the call for another turn: %v", err)
	}
	if err := <-acknowledged["none"]; err != journal.ErrUnknown {
		t.Errorf("the call for no turn: %v", err)
	}
	if err := <-acknowledged["damaged"]; err == nil {
		t.Error("the call for the damaged turn succeeded")
	}
	if r, err := j.Get(t.Context(), "sound"); err != nil || !r.Acknowledged {
		t.Errorf("Get() = %+v, %v", r, err)
	}
}

func TestDamageAnywhereIsFoundWhenTheJournalIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	for i := range 200 {
		name := fmt.Sprint("turn ", i)
		_, log := accept(t, j, name)
		finish(t, log, name, 1)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := 3 * page; at+page <= len(content); at += page { // all but schema and roots
		content[at], content[at+1], content[at+5] = 0xff, 0xff, 0xff
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(t.Context(), path); sqldb.KindOf(err) != sqldb.Corrupt {
		t.Errorf("Open() = %v", err)
	}
	aside, err := journal.SetAside(path, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, content) {
		t.Errorf("what is kept is not what was there (%v)", err)
	}
	if next := open(t, path); next.ID() == j.ID() {
		t.Error("the new journal has the id of the old one")
	}
}
