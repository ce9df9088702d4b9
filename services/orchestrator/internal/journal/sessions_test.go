package journal_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestSessionsAreReadBesideTheWorker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if _, _, err := journal.Sessions(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, turn := range [][2]string{{"t1", "b"}, {"t2", "a"}, {"t3", "b"}} {
		_, log, err := j.Accept(journal.NewTurn{TurnID: turn[0], SessionID: turn[1], Created: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if turn[0] == "t3" {
			continue // Codex has not named its thread yet
		}
		done := make(chan error, 1)
		if err := log.Append(nil, journal.Update{ThreadID: "thread-" + turn[0]}, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	id, sessions, err := journal.Sessions(t.Context(), path)
	want := []journal.Session{{"a", "thread-t2", "t2", true}, {"b", "thread-t1", "t3", true}}
	if err != nil || id != j.ID() || !slices.Equal(sessions, want) {
		t.Errorf("%s: %+v, %v", id, sessions, err)
	}
}
