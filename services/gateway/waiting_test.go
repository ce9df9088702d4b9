package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"telecodex.dev/services/internal/telegramsim"
)

func TestWaitLooksWithoutTaking(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	config := Config{Token: func() string { return telegramsim.DefaultToken }, APIURL: sim.URL, AllowedChatIDs: []string{"7"}}
	sim.Inject(telegramsim.Incoming{ChatID: 8, Text: "a stranger"})
	sim.Inject(telegramsim.Incoming{ChatID: 7, Text: "/status"})
	want := sim.Inject(telegramsim.Incoming{ChatID: 7, Text: "a prompt"})
	for range 2 {
		found, err := Wait(t.Context(), config, 0)
		if err != nil || len(found) != 1 || found[0] != (Waiting{UpdateID: want.UpdateID, ChatID: 7, FromID: 7, Text: "a prompt"}) {
			t.Fatalf("found %+v, %v", found, err)
		}
	}
	if pending := sim.State().Pending; pending != 3 {
		t.Errorf("%d updates are left of 3", pending)
	}
}

func TestWaitConfirmsWhatTheCursorFileSaysWasReceived(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	config := Config{Token: func() string { return telegramsim.DefaultToken }, APIURL: sim.URL, AllowedChatIDs: []string{"7"},
		CursorStatePath: filepath.Join(t.TempDir(), "cursor.json")}
	first := sim.Inject(telegramsim.Incoming{ChatID: 7, Text: "received"})
	second := sim.Inject(telegramsim.Incoming{ChatID: 7, Text: "new"})
	if err := os.WriteFile(config.CursorStatePath, fmt.Appendf(nil, `{"committed_floor":%d,"version":1}`, first.UpdateID+1), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := Wait(t.Context(), config, 0)
	if err != nil || len(found) != 1 || found[0].UpdateID != second.UpdateID {
		t.Fatalf("found %+v, %v", found, err)
	}
	if state := sim.State(); state.Pending != 1 || state.ConfirmedOffset != second.UpdateID {
		t.Errorf("state %+v", state)
	}
	if err := os.WriteFile(config.CursorStatePath, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Wait(t.Context(), config, 0); err == nil {
		t.Error("a cursor file that cannot be read is no cursor")
	}
}
