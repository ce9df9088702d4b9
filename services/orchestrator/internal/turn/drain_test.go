package turn

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestDrainWaitsForATurnThatHasOnlyItsSlot(t *testing.T) {
	dir := t.TempDir()
	log, err := journal.Open(t.Context(), filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := NewManager(Options{Journal: log, Slots: 1, Timeout: time.Minute, Idle: time.Minute, Log: zap.NewNop()})
	// Nothing can be made beneath a file: the turn ends before it comes to Codex.
	spec := Spec{TurnID: "turn", SessionID: "telegram:1", MakeDir: true, Codex: codex.Request{Dir: filepath.Join(file, "none")}}
	if _, mine, err := m.reserve(spec); err != nil || !mine {
		t.Fatalf("reserve() = %v, %v", mine, err)
	}
	m.Drain(time.Minute)
	if used := m.Status().Used; used != 0 {
		t.Errorf("%d turns are left", used)
	}
	if r, err := log.Get(t.Context(), spec.TurnID); err != nil || r.Finished == nil {
		t.Errorf("the turn's end is not stored: %+v, %v", r, err)
	}
}
