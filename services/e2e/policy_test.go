package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telecodex.dev/services/internal/telegramsim"
)

// parse reads reports, one a line.
func parse(t *testing.T, stdout string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var report map[string]any
		if strings.HasSuffix(line, "\n") {
			if err := json.Unmarshal([]byte(line), &report); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all = append(all, report)
		}
	}
	return all
}

const (
	onSuccess = "CHANNEL_ACK_POLICY=on-success"
	always    = "CHANNEL_ACK_POLICY=always"
	silent    = "CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=false"
)

// noCodex makes a worker that cannot start Codex.
func (s *system) noCodex() string {
	return "ORCHESTRATOR_CODEX_BIN=" + filepath.Join(s.dir, "no-such-codex")
}

func (s *system) stopWorker() {
	s.t.Helper()
	if err := s.worker.Stop(patience); err != nil {
		s.t.Fatal(err)
	}
}

func TestOnSuccessKeepsATurnThatCodexCannotBeStartedFor(t *testing.T) {
	t.Parallel()
	for _, notify := range []bool{true, false} {
		t.Run(map[bool]string{true: "told", false: "silent"}[notify], func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.startWorker(s.noCodex())
			env := []string{onSuccess}
			if !notify {
				env = append(env, silent)
			}
			s.say("one")
			s.say("two")
			status, report := s.once(env...)
			if status != 0 || report["reason"] != "completed-with-errors" || counted(report) != "0 0 2 2" ||
				!slices.Equal(codes(report), []string{"codex-exec-failed", "codex-exec-failed"}) {
				t.Errorf("status %d, report %v", status, report)
			}
			if depth := counters(report)["queue_depth"]; depth != 2.0 {
				t.Errorf("%v turns wait", depth)
			}
			// It is one attempt for each cycle, and counts in the first one alone.
			if status, report := s.once(env...); status != 0 || report["reason"] != "no-updates" || counted(report) != "0 0 0 0" {
				t.Errorf("status %d, report %v", status, report)
			}
			s.stopWorker()
			s.startWorker()
			if status, report := s.once(env...); status != 0 || report["reason"] != "no-updates" || counted(report) != "0 0 0 0" {
				t.Errorf("status %d, report %v", status, report)
			}
			var texts []string
			for _, m := range s.sim.Messages(chat) {
				texts = append(texts, m.Text)
			}
			answers := []string{"You said: one", "You said: two"}
			if notify && (len(texts) != 3 || !strings.HasPrefix(texts[0], "Codex cannot be started on the worker right now.")) {
				t.Errorf("messages = %q", texts)
			}
			if !slices.Equal(texts[len(texts)-2:], answers) || !notify && len(texts) != 2 {
				t.Errorf("messages = %q", texts)
			}
		})
	}
}

func TestOnSuccessTriesAgainByItself(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker(s.noCodex())
	s.startGateway(nil, onSuccess)
	in := s.say("one")
	if r := s.reported(in); counted(r) != "0 0 1 1" {
		t.Errorf("report = %v", r)
	}
	s.heard(1)
	s.stopWorker()
	s.startWorker()
	if texts := s.heard(2); texts[1] != "You said: one" {
		t.Errorf("messages = %q", texts)
	}
}

func TestOnSuccessRunsAFailedTurnOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	prompt := "!scenario crash\nx"
	s.say(prompt)
	if _, report := s.once(onSuccess); counted(report) != "1 1 0 1" || codes(report)[0] != "codex-exec-failed" {
		t.Errorf("report = %v", report)
	}
	if _, report := s.once(onSuccess); counted(report) != "0 0 0 0" {
		t.Errorf("report = %v", report)
	}
	if started, _ := s.runs(prompt); started != 1 {
		t.Errorf("the turn ran %d times", started)
	}
}

func TestAnAnswerThatCannotBeSentIsKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ policy, want string }{{always, "0 1 0 1"}, {onSuccess, "0 0 1 1"}} {
		t.Run(tt.policy, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.startWorker()
			s.say("one")
			s.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, Status: 429, RetryAfter: 60})
			status, report := s.once(tt.policy)
			d := oneDetail(t, report)
			if status != 0 || report["status"] != "ok" || counted(report) != tt.want || d["code"] != "update-processing-exception" ||
				d["context"].(map[string]any)["operation"] != "send_message" {
				t.Errorf("status %d, report %v", status, report)
			}
			s.sim.ClearFaults()
			s.say("two")
			// What is held back for a minute is left again, and costs nobody a run.
			if _, report := s.once(tt.policy); counted(report) != tt.want {
				t.Errorf("report = %v", report)
			}
			if started, _ := s.runs("one"); started != 1 {
				t.Errorf("the turn ran %d times", started)
			}
		})
	}
}

func TestAnAnswerThatCouldNotBeSentIsSentByTheNextCycle(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.say("one")
	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, Status: 502})
	if _, report := s.once(onSuccess); report["ack_skipped_count"] != 1.0 || report["sent_count"] != 0.0 {
		t.Errorf("report = %v", report)
	} else if n := counters(report)["retry_total"]; n != 2.0 {
		t.Errorf("three calls, %v of them retries", n)
	}
	s.sim.ClearFaults()
	if _, report := s.once(onSuccess); report["reason"] != "no-updates" || counted(report) != "0 0 0 0" {
		t.Errorf("report = %v", report)
	}
	if texts := s.heard(1); !slices.Equal(texts, []string{"You said: one"}) {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs("one"); started != 1 {
		t.Errorf("the turn ran %d times", started)
	}
}

// TestAnUnreachableWorkerIsReportedAndTheUpdateStays takes the ten seconds after
// which that is said.
func TestAnUnreachableWorkerIsReportedAndTheUpdateStays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ policy, want string }{{always, "0 1 0 1"}, {onSuccess, "0 0 1 1"}} {
		t.Run(tt.policy, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.startGateway(nil, tt.policy)
			first := s.say("one")
			r := s.reported(first)
			if took := r["telemetry"].(map[string]any)["timers_ms"].(map[string]any)["cycle_total"].(float64); took < 10_000 {
				t.Errorf("reported after %v ms", took)
			}
			if counted(r) != tt.want || codes(r)[0] != "codex-exec-failed" || counters(r)["queue_depth"] != 1.0 {
				t.Errorf("report = %v", r)
			}
			if texts := s.heard(1); !strings.HasPrefix(texts[0], "The worker cannot be reached right now.") {
				t.Errorf("messages = %q", texts)
			}
			// A later message of the same chat is reported and told of too.
			if r := s.reported(s.say("two")); counted(r) != tt.want {
				t.Errorf("report = %v", r)
			}
			s.heard(2)
			s.startWorker()
			if texts := s.heard(4); !slices.Equal(texts[2:], []string{"You said: one", "You said: two"}) {
				t.Errorf("messages = %q", texts)
			}
		})
	}
}
