package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/internal/freeport"
)

// damage overwrites every page of a database but the first few, as a failing disk
// may. What its log holds is gone.
func damage(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const sound = 4096
	if len(content) <= sound {
		t.Fatalf("%s has %d bytes", path, len(content))
	}
	for i := range content[sound:] {
		content[sound+i] ^= 0x5a
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// stop stops a program in good order: then all that it stored is in the database's
// file, and no log is left.
func (s *system) stop(p interface{ Terminate() error }, done <-chan struct{}) {
	s.t.Helper()
	if err := p.Terminate(); err != nil {
		s.t.Fatal(err)
	}
	s.wait("it stops", done)
}

// TestADamagedJournalLeavesTheDecisionToThePerson damages the worker's journal under
// a turn. Nobody has to lay a hand on it: the worker begins a new one.
func TestADamagedJournalLeavesTheDecisionToThePerson(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("before")
	s.heard(1)
	prompt := "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	if err := s.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(s.dir, "worker", "private", "journal.db")
	if err := os.Remove(journal + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	metrics, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	s.startWorker("ORCHESTRATOR_METRICS_ADDR=" + metrics)
	if question := s.heard(2)[1]; !strings.Contains(question, "it may have partly run") {
		t.Errorf("the person is asked %q", question)
	}
	if !strings.Contains(s.worker.Stderr(), "the journal is damaged: it was set aside") {
		t.Errorf("the worker says %s", s.worker.Stderr())
	}
	if kept, err := filepath.Glob(journal + ".damaged-*Z"); err != nil || len(kept) != 1 {
		t.Errorf("kept: %q, %v", kept, err)
	}
	answer, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if shown, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(shown), "telecodex_orchestrator_journal_damaged_copies 1\n") {
		t.Errorf("what was set aside is not counted: %v, %s", err, shown)
	}
	s.say("/drop")
	s.say("after it")
	s.hears("You said: after it")
	if started, _ := s.runs(prompt); started != 1 {
		t.Errorf("the interrupted turn ran %d times", started)
	}
}

// TestADamagedStoreIsLeftAlone has a gateway begin with a store that is damaged, and
// then with the sound one that it was made from.
func TestADamagedStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("before")
	s.heard(1)
	s.stop(s.gateway, s.gateway.Done())
	path := filepath.Join(s.dir, ".channel_runtime", "gateway.db")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage(t, path)
	s.say("meanwhile")
	s.startGateway(nil)
	s.wait("the gateway gives up", s.gateway.Done())
	if status := s.gateway.Status(); status == 0 {
		t.Error("it ends well")
	}
	for _, want := range []string{"file is damaged", "nothing was changed", "restore"} {
		if !strings.Contains(s.gateway.Stderr(), want) {
			t.Errorf("it does not say %q: %s", want, s.gateway.Stderr())
		}
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	s.startGateway(nil)
	if texts := s.heard(2); texts[1] != "You said: meanwhile" {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs("before"); started != 1 {
		t.Errorf("the answered turn ran %d times", started)
	}
}
