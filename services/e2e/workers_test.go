package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
)

// TestALostWorkersSessionsGoOnElsewhere kills a worker and leaves it dead for longer
// than the gateway waits. What ran there is the person's to decide, what waited goes on at the
// other worker, and when the dead one is back nothing runs a second time.
func TestALostWorkersSessionsGoOnElsewhere(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker("ORCHESTRATOR_MAX_TURNS=16") // the first choice
	other, err := harness.StartWorker(t.Context(), harness.WorkerConfig{Programs: built, Dir: filepath.Join(s.dir, "other"), Env: []string{
		"ORCHESTRATOR_MAX_TURNS=2", "ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1,FAKE_CODEX_LOG=" + s.codexLog}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	s.startGateway(nil, "CHANNEL_ORCHESTRATOR_ADDR="+s.addr+","+other.Addr, "CHANNEL_WORKER_LOST_S=1", "CHANNEL_INTERRUPTED_WAIT_S=0")
	s.eventually("both workers are reached", func() bool { return strings.Count(s.gateway.Stderr(), `"worker reached"`) == 2 })
	s.say("first")
	s.heard(1)
	const runs, waits = "!scenario hang\nruns when its worker dies", "waits meanwhile"
	s.say(runs)
	s.eventually("the turn runs", func() bool { started, _ := s.runs(runs); return started == 1 })
	s.say(waits)
	if err := s.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	texts := s.heard(4) // the question, the notice, the answer
	for i, want := range []string{"You said: first", "its worker has not answered for long", "a new conversation was started", "You said: " + waits} {
		if !strings.Contains(texts[i], want) {
			t.Errorf("message %d is %q, want %q", i+1, texts[i], want)
		}
	}
	s.startWorker("ORCHESTRATOR_MAX_TURNS=16")
	s.eventually("the worker is back", func() bool {
		return strings.Count(s.gateway.Stderr(), `"worker reached"`) == 3
	})
	s.say("recall")
	if last := s.heard(5)[4]; strings.Contains(last, "first") || !strings.Contains(last, waits) {
		t.Errorf("the conversation that goes on knows %q", last)
	}
	for _, prompt := range []string{"first", runs, waits} {
		if started, _ := s.runs(prompt); started != 1 {
			t.Errorf("%q was begun %d times", prompt, started)
		}
	}
}
