package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAReplacedStoreLosesNothingToAnOldJournal takes the gateway's store away while
// the worker keeps its journal, and has Telegram begin its numbers anew: the ids of
// the first turns are those of turns that the worker knows.
func TestAReplacedStoreLosesNothingToAnOldJournal(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	first := s.say("before")
	s.heard(1)
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, ".channel_runtime")); err != nil {
		t.Fatal(err)
	}
	if err := s.sim.SetNextUpdateID(first.UpdateID); err != nil {
		t.Fatal(err)
	}
	s.say("after it")
	s.startGateway(nil)
	if texts := s.heard(2); texts[1] != "You said: after it" {
		t.Errorf("messages = %q\n%s", texts, s.gateway.Stderr())
	}
	for _, prompt := range []string{"before", "after it"} {
		if started, ended := s.runs(prompt); started != 1 || ended != 1 {
			t.Errorf("%q: %d started, %d ended", prompt, started, ended)
		}
	}
}
