package e2e

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestOneCycleAnswersThroughAWorkerThatStartsLater(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	in := s.say("hello id=4")
	p := s.startGateway([]string{"--once"})
	s.startWorker()
	s.wait("the cycle ends", p.Done())
	if p.Status() != 0 || !strings.Contains(p.Stdout(), `"reason":"processed","sent_count":1,"status":"ok"`) {
		t.Errorf("status %d, %s", p.Status(), p.Stdout())
	}
	messages := s.sim.Messages(chat)
	if len(messages) != 1 || messages[0].Text != "You said: hello id=4" || messages[0].ReplyTo != in.MessageID {
		t.Errorf("messages = %+v", messages)
	}
}

func TestTheNextCycleGoesOnInTheSameThread(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	for i, text := range []string{"my name is Ada", "recall"} {
		s.say(text)
		if status, report := s.once(); status != 0 || report["sent_count"] != 1.0 {
			t.Fatalf("cycle %d: %d %v", i, status, report)
		}
	}
	if answer := s.heard(2)[1]; !strings.Contains(answer, "my name is Ada") {
		t.Errorf("the thread does not remember: %q", answer)
	}
}

func TestFailuresOfCodexAreDiagnosed(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	for _, tt := range []struct {
		name, prompt string
		env          []string
		code         string
		sent         float64
	}{
		{"timeout", "!scenario hang\nx", []string{"CHANNEL_CODEX_TIMEOUT_S=0.05"}, "codex-timeout", 1},
		{"timeout that nobody is told", "!scenario hang\nx", []string{"CHANNEL_CODEX_TIMEOUT_S=0.001", "CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=false"}, "codex-timeout", 0},
		{"crash", "!scenario crash\nx", nil, "codex-exec-failed", 1},
		{"turn.failed", "!scenario turn_failed\nx", nil, "codex-exec-failed", 1},
		{"a sandbox the worker does not allow", "x", []string{"CHANNEL_CODEX_SANDBOX_MODE=danger-full-access"}, "codex-contract-violation", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.say(tt.prompt)
			status, report := s.once(tt.env...)
			if status != 0 || report["status"] != "ok" || report["reason"] != "completed-with-errors" || report["acked_count"] != 1.0 ||
				report["sent_count"] != tt.sent || !slices.Equal(codes(report), []string{tt.code}) {
				t.Errorf("status %d, report %v", status, report)
			}
		})
	}
}

func TestOneCycleLeavesWhatNoWorkerCanDo(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.say("one")
	s.say("two")
	status, report := s.once(onSuccess)
	if status != 0 || !slices.Contains(codes(report), "codex-exec-failed") || counted(report) != "0 0 2 2" {
		t.Errorf("status %d, report %v", status, report)
	}
	s.startWorker()
	// The next cycle fetches nothing and works off what was stored. It counts
	// nothing of that: a report is about what was fetched in its cycle.
	if status, report := s.once(onSuccess); status != 0 || report["reason"] != "no-updates" || counted(report) != "0 0 0 0" {
		t.Errorf("status %d, report %v", status, report)
	}
	if texts := s.heard(3); !strings.HasPrefix(texts[0], "The worker cannot be reached right now.") ||
		!slices.Equal(texts[1:], []string{"You said: one", "You said: two"}) {
		t.Errorf("messages = %q", texts)
	}
}

func TestAnInterruptedCycleIsTakenUpByTheNext(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: no interrupt can be sent to a process on Windows")
	}
	s := newSystem(t)
	s.startWorker()
	prompt := "!scenario slow FAKE_CODEX_DELAY=700\nx"
	s.say(prompt)
	p := s.startGateway([]string{"--once"})
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	process, err := os.FindProcess(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.wait("interrupted", p.Done())
	if p.Status() != 130 {
		t.Errorf("status %d", p.Status())
	}
	if status, _ := s.once(); status != 0 {
		t.Errorf("status %d", status)
	}
	if texts := s.heard(1); texts[0] != "You said: x" {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs(prompt); started != 1 {
		t.Errorf("Codex ran %d times", started)
	}
}

// TestAPersonSeesThatATurnRuns: a chat action lasts five seconds, so one that goes on
// is renewed.
func TestAPersonSeesThatATurnRuns(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("!scenario hang\nx")
	s.eventually("it is shown, and shown again", func() bool { return len(s.sim.Actions(chat)) >= 2 })
	for _, a := range s.sim.Actions(chat) {
		if a.Action != "typing" {
			t.Errorf("shown: %+v", a)
		}
	}
	s.say("/cancel")
	s.heard(1)
}
