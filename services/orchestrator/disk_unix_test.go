//go:build unix

package orchestrator_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// limitFiles makes the disk refuse to let any file of this process grow beyond
// size, until the returned function is called.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = size
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// It runs by itself: the limit is that of the whole process, other workers in it too.
func TestTurnIsInterruptedWhenTheDiskRefusesAndEndsOnceItCanBeWritten(t *testing.T) {
	w := start(t)
	r := request("t1", "flood", "FAKE_CODEX_EVENTS=1000000")
	stream := w.begin(r, 1)
	// The log may not grow from here on.
	lift := limitFiles(t, 512<<10)
	count := 0
	eventually(t, "the journal refuses to write", func() bool {
		count++
		_, err := w.CancelTurn(t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: fmt.Sprintf("tombstone %d", count)})
		if err == nil {
			return false
		}
		wantFailure(t, err, "ResourceExhausted", "JOURNAL_UNAVAILABLE", "")
		return true
	})
	// A turn's row is smaller than a tombstone: one or two may still fit.
	eventually(t, "a turn is refused", func() bool {
		count++
		_, err := w.run(request(fmt.Sprintf("turn %d", count), "echo")).accepted()
		if err == nil {
			return false
		}
		wantFailure(t, err, "ResourceExhausted", "JOURNAL_UNAVAILABLE", "")
		return true
	})
	refused := fmt.Sprintf(`"turn_id":"turn %d"`, count)
	if state := w.turn("t1").GetState(); state != orchestratorv1.TurnState_TURN_STATE_RUNNING {
		t.Errorf("the state is %v before its end is stored", state)
	}
	lift()
	events, err := stream.events()
	if err != nil {
		t.Fatal(err)
	}
	if finished := w.checkEvents("t1", 1, events); outcome(finished) != "INTERRUPTED IO" || finished.GetErrorDetail().GetMessage() != "codex backend error: io" {
		t.Errorf("finished = %v", finished)
	}
	stored, err := w.watch("t1", 1).events()
	if err != nil || !bytes.Equal(encoded(t, stored), encoded(t, events)) {
		t.Errorf("%d events are stored, %d were shown (%v)", len(stored), len(events), err)
	}
	next := request("t3", "echo")
	next.SessionId = r.GetSessionId()
	if _, finished := w.finish(next); outcome(finished) != "SUCCEEDED" {
		t.Errorf("the next turn: %v", finished)
	}
	// Nothing is started before its row is on the disk.
	for line := range strings.Lines(w.logs.String()) {
		if strings.Contains(line, refused) && strings.Contains(line, "codex") {
			t.Errorf("the turn that was refused: %s", line)
		}
	}
	if !strings.Contains(w.logs.String(), `"msg":"codex started","turn_id":"t3"`) {
		t.Error("the log does not say what was started")
	}
}
