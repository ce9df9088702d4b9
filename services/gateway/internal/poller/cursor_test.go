package poller_test

import (
	"os"
	"path/filepath"
	"testing"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

func TestCursorFileFollowsTheCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.CursorPath = filepath.Join(t.TempDir(), "runtime", "cursor.json")
	w.once()
	if _, err := os.Stat(w.config.CursorPath); !os.IsNotExist(err) {
		t.Errorf("a cursor was written before there is one: %v", err)
	}
	in := w.say("hello")
	w.once()
	floor, err := poller.ReadCursor(w.config.CursorPath)
	if err != nil || floor == nil || *floor != in.UpdateID+1 {
		t.Errorf("floor %v, %v", floor, err)
	}
	// What the file says is not asked again: the store knows better.
	if err := poller.WriteCursor(w.config.CursorPath, 5); err != nil {
		t.Fatal(err)
	}
	w.once()
	if floor, err = poller.ReadCursor(w.config.CursorPath); err != nil || *floor != in.UpdateID+1 {
		t.Errorf("floor %v, %v", floor, err)
	}
}

func TestAnImportedCursorSkipsWhatTheOriginHasAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("answered by the origin")
	second := w.say("new")
	w.config.CursorPath = filepath.Join(t.TempDir(), "cursor.json")
	if err := poller.WriteCursor(w.config.CursorPath, second.UpdateID); err != nil {
		t.Fatal(err)
	}
	floor, err := poller.LoadCursor(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.dbPath += ".fresh"
	w.open(floor)
	if r := w.once(); r.GetFetchedCount() != 1 || w.state(second.UpdateID) != store.Queued {
		t.Errorf("report %v", r)
	}
}

// TestAStrictCursorFileFailsEachAcknowledgement, those of refused chats too:
// what is dropped was fetched.
func TestAStrictCursorFileFailsEachAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Strict, w.config.CursorPath = true, filepath.Join(t.TempDir(), "cursor.json")
	if err := os.Mkdir(w.config.CursorPath+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	w.sim.Inject(telegramsim.Incoming{ChatID: 999, Text: "let me in"})
	if r := w.once(); r.GetStatus() != "ok" || r.GetFetchedCount() != 1 || r.GetAckedCount() != 0 || r.GetDroppedCount() != 1 ||
		r.GetErrorCount() != 1 || r.GetErrorDetails()[1].GetCode() != "ack-update-failed" {
		t.Errorf("report %v", r)
	}
	// What the file could not say then fails the next poll, which fetches nothing.
	if r := w.once(); r.GetReason() != "adapter-fetch-exception" {
		t.Errorf("report %v", r)
	}
}

func TestCursorFileTrouble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                 string
		strict, message      bool
		status, reason, code string
	}{
		{"load", false, true, "ok", "completed-with-errors", "cursor-state-load-error"},
		{"load", true, true, "failed", "runtime-loop-cycle-exception", "runtime-loop-cycle-exception"},
		{"save", false, true, "ok", "completed-with-errors", "cursor-state-save-error"},
		{"save", true, true, "ok", "completed-with-errors", "ack-update-failed"},
		{"save", true, false, "failed", "adapter-fetch-exception", "adapter-fetch-exception"},
	} {
		name := tt.name
		if tt.strict {
			name += " strict"
		}
		if !tt.message {
			name += " with nothing to hand on"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Strict, w.config.Once = tt.strict, true
			in := w.sim.Inject(telegramsim.Incoming{ChatID: allowed, Text: "hello", Bot: !tt.message})
			// A file where a directory is wanted cannot be read or written.
			w.config.CursorPath = t.TempDir()
			if tt.name == "save" {
				blocked := filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(blocked, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				w.config.CursorPath = filepath.Join(blocked, "cursor.json")
			}
			var r *telemetryv1.CycleReport
			if tt.name == "load" {
				floor, err := poller.LoadCursor(t.Context(), w.config)
				if floor != nil || (err != nil) != tt.strict {
					t.Errorf("LoadCursor() = %v, %v", floor, err)
				}
				w.config.CursorPath = ""
			}
			if tt.name == "load" && tt.strict {
				r = w.reports[0]
			} else {
				r = w.once()
				if want := map[bool]store.State{true: store.Queued, false: store.Skipped}[tt.message]; w.state(in.UpdateID) != want {
					t.Errorf("state = %s", w.state(in.UpdateID))
				}
			}
			if r.GetStatus() != tt.status || r.GetReason() != tt.reason || len(r.GetErrorDetails()) != 1 || r.GetErrorDetails()[0].GetCode() != tt.code {
				t.Errorf("report %v", r)
			}
		})
	}
}
