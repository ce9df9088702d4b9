//go:build unix

package smoke_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangs is a program that hangs, and does not mind being asked to stop. It and
// what it started hold the pipe open.
const hangs = `#!/bin/sh
trap '' INT
exec 9>'%s'
sleep 600 &
wait
`

// A scenario that does not end in time is judged, what comes after it has no time
// left, and nobody stays behind.
func TestAScenarioThatHangsIsJudged(t *testing.T) {
	for limit := 3 * time.Second; ; limit *= 2 {
		r := newTrial(t)
		r.Limit, r.Program = limit, filepath.Join(r.people, "telecodex")
		path := filepath.Join(r.people, "alive")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		alive, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer alive.Close()
		if err := os.WriteFile(r.Program, fmt.Appendf(nil, hangs, path), 0o700); err != nil {
			t.Fatal(err)
		}
		status := r.run(t)
		if strings.Contains(r.out.String(), "S1-happy-path: no time was left") {
			continue // on a busy machine it had not even begun
		}
		if _, err := io.ReadAll(alive); err != nil { // it ends when all have ended
			t.Error(err)
		}
		if status != 1 {
			t.Errorf("status %d", status)
		}
		r.shows(t, "FAIL      S1", "  S1-happy-path, try 1:\n    process: expected ends by itself, observed did not end within ",
			"UNTESTED  S2", "  S2-telegram-transient-fetch: no time was left of what all of a simulated run may take\n", "UNTESTED  S3", "UNTESTED  S4",
			"  S4-allowlist-drop: no time was left", "NO-GO: failed: S1\n", "  criterion 1: ", "evidence: ")
		return
	}
}

// Whatever the operator's environment says, no live cycle lets in another chat
// than the canary: the list that S4 has instead names a chat that nobody is.
func TestNoLiveCycleHasAWiderAllowlist(t *testing.T) {
	for _, settings := range [][]string{
		nil,
		{"CHANNEL_ALLOWED_CHAT_IDS= 08100000043 "},
		{"CANARY_CHAT_ID=8100000043", "CHANNEL_LIVE_MODE=false", "CHANNEL_ORCHESTRATOR_MODE=default", "CHANNEL_ONCE=false"},
	} {
		t.Run(strings.Join(settings, " "), func(t *testing.T) {
			r, sim := newLive(t, settings...)
			r.writes(t, sim, "hello")
			record := filepath.Join(r.people, "record")
			r.Program = filepath.Join(r.people, "telecodex")
			script := fmt.Sprintf("#!/bin/sh\necho \"$CHANNEL_ALLOWED_CHAT_IDS $CHANNEL_LIVE_MODE $CHANNEL_ORCHESTRATOR_MODE $*\" >>'%s'\n", record)
			if err := os.WriteFile(r.Program, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			if status := r.run(t); status != 1 { // it reports nothing
				t.Errorf("status %d", status)
			}
			got, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			// S1 three times, S2, both of S3, S4.
			want := append(slices.Repeat([]string{"8100000043 true codex --once"}, 6), "999999999 true codex --once")
			if got := strings.Split(strings.TrimSpace(string(got)), "\n"); !slices.Equal(got, want) {
				t.Errorf("the cycles had %q, want %q", got, want)
			}
		})
	}
}
