package observe

import (
	"encoding/json"
	"strings"
	"testing"
)

// The way of a message through both services is found with one word.
func TestOneIDLeadsThroughAllLogs(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.run(s.worker, s.gateway)
	s.say("another one")
	s.heard(1)
	const secret = "a-word-of-the-person"
	id := nameOf(s.say(secret))
	s.heard(2)
	var steps []string
	grep := func() bool {
		steps = nil
		for _, p := range []*service{s.gateway, s.worker} {
			for line := range strings.Lines(p.logs()) {
				if !strings.Contains(line, id) {
					continue
				}
				var entry struct{ Logger, Msg string }
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Fatalf("not JSON: %s", line)
				}
				steps = append(steps, entry.Logger+": "+entry.Msg)
			}
		}
		return len(steps) >= 6
	}
	s.eventually("every step is logged", grep)
	want := []string{"poller: update stored", "dispatch: turn assigned", "dispatch: turn settled", "delivery: message sent",
		"orchestrator.turn: codex started", "orchestrator.turn: turn ended"}
	if got := strings.Join(steps, "; "); got != strings.Join(want, "; ") {
		t.Errorf("the way of %s: %s", id, got)
	}
	for _, p := range []*service{s.gateway, s.worker} {
		if strings.Contains(p.logs(), secret) {
			t.Error("a log contains what a person wrote")
		}
	}
}
