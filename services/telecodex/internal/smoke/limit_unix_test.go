//go:build unix

package smoke_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
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
