package e2e

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/telegramsim"
)

// counted is what a report counts: sent, acknowledged, not acknowledged, errors.
func counted(report map[string]any) string {
	return fmt.Sprint(report["sent_count"], report["acked_count"], report["ack_skipped_count"], report["error_count"])
}

// oneDetail is the detail of a report that has one.
func oneDetail(t *testing.T, report map[string]any) map[string]any {
	t.Helper()
	details := report["error_details"].([]any)
	if len(details) != 1 {
		t.Fatalf("report = %v", report)
	}
	return details[0].(map[string]any)
}

// TestOutcomesBecomeCodes has a row for each way in which a turn can end, through
// the real gateway and worker. Nothing of a failed turn is said where NOTIFY is
// off.
func TestOutcomesBecomeCodes(t *testing.T) {
	t.Parallel()
	for _, notify := range []string{"true", "false"} {
		t.Run("notify "+notify, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.startWorker("ORCHESTRATOR_IDLE_TIMEOUT_S=1")
			for _, tt := range []struct {
				name, prompt string
				env          []string
				code         string
				retryable    bool
				message      string // of the diagnostic
			}{
				{"overall limit", "!scenario hang\nx", []string{"CHANNEL_CODEX_TIMEOUT_S=0.05"}, "codex-timeout", true,
					"TimeoutError: codex invocation timed out"},
				{"a limit that passes before anything is said", "!scenario hang_no_output\nx", []string{"CHANNEL_CODEX_TIMEOUT_S=0.001"},
					"codex-timeout", true, "TimeoutError: codex invocation timed out"},
				{"no-event limit", "!scenario hang\nx", nil, "codex-timeout", true, "TimeoutError: codex invocation timed out"},
				{"non-zero exit without a terminal event", "!scenario crash\nx", nil, "codex-exec-failed", true,
					"codex exited non-zero: exit status 3 (stderr redacted)"},
				{"non-zero exit without any event", "!scenario exit1_empty\nx", nil, "codex-exec-failed", true,
					"codex exited non-zero: exit status 1 (stderr redacted)"},
				{"turn.failed", "!scenario turn_failed\nx", nil, "codex-exec-failed", true,
					"codex exited non-zero: exit status 1 (stderr redacted): rate limit"},
				{"a sandbox the worker does not allow", "x", []string{"CHANNEL_CODEX_SANDBOX_MODE=danger-full-access"}, "codex-contract-violation", false, ""},
				{"a prompt that is too long", strings.Repeat("long ", 1<<18), nil, "codex-contract-violation", false, ""},
			} {
				t.Run(tt.name, func(t *testing.T) {
					before := len(s.sim.Messages(chat))
					s.say("/new " + tt.prompt) // no row concerns another
					status, report := s.once(append([]string{"CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=" + notify}, tt.env...)...)
					want := map[string]int{"true": 1, "false": 0}[notify]
					if status != 0 || report["reason"] != "completed-with-errors" || counted(report) != fmt.Sprint(want, 1, 0, 1) {
						t.Errorf("status %d, report %v", status, report)
					}
					d := oneDetail(t, report)
					if d["code"] != tt.code || d["retryable"] != tt.retryable || d["source"] != "orchestrator.diagnostics" ||
						tt.message != "" && d["message"] != tt.message {
						t.Errorf("detail = %v", d)
					}
					if got := len(s.sim.Messages(chat)) - before; got != want {
						t.Errorf("%d messages, want %d", got, want)
					}
				})
			}
		})
	}
}

func TestAnotherThreadIsNoValidResponse(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.say("hello")
	s.once()
	s.say("!scenario other_thread\nx")
	if _, report := s.once(); oneDetail(t, report)["code"] != "codex-invalid-response" || counted(report) != "1 1 0 1" {
		t.Errorf("report = %v", report)
	}
}

// TestWhatIsNoFailureIsNoError holds that lines, errors and items that Codex
// survives count nowhere.
func TestWhatIsNoFailureIsNoError(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	for scenario, want := range map[string]string{
		"exit0_empty": "0 1 0 0", // nothing was said, and that is all
		"garbage":     "1 1 0 0", // lines that are no events
		"emit_normalize_error_with_rawline_secret": "1 1 0 0",
		"nul_invalid_utf8":                         "1 1 0 0",
		"error_then_ok":                            "1 1 0 0", // `error` events
		"all_items":                                "1 1 0 0", // items that are errors, and types of which nothing is known
		"completed_then_exit1":                     "1 1 0 0",
		"linger_after_completed":                   "1 1 0 0",
		"huge_line FAKE_CODEX_BYTES=9000":          "1 1 0 0", // one answer in several messages
	} {
		t.Run(scenario, func(t *testing.T) {
			before := len(s.sim.Messages(chat))
			s.say("!scenario " + scenario + "\nx")
			status, report := s.once()
			if status != 0 || report["reason"] != "processed" || counted(report) != want || len(codes(report)) > 0 {
				t.Errorf("status %d, report %v", status, report)
			}
			messages := len(s.sim.Messages(chat)) - before
			if split := strings.HasPrefix(scenario, "huge_line"); split && messages < 2 || !split && fmt.Sprint(messages) != want[:1] {
				t.Errorf("%d messages", messages)
			}
		})
	}
}

func TestCodexThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker("ORCHESTRATOR_CODEX_BIN=" + filepath.Join(s.dir, "no-such-codex"))
	s.say("one")
	_, report := s.once("CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=false")
	if d := oneDetail(t, report); d["code"] != "codex-exec-failed" || d["message"] != "codex backend error: spawn" || counted(report) != "0 1 0 1" {
		t.Errorf("report = %v", report)
	}
	s.say("two")
	if _, report = s.once(); counted(report) != "1 1 0 1" {
		t.Errorf("report = %v", report)
	}
	texts := s.heard(1)
	if len(texts) != 1 || !strings.HasPrefix(texts[0], "Sorry, something went wrong. Please try again.\n") ||
		!strings.Contains(texts[0], "Codex could not be started on the worker.") {
		t.Errorf("messages = %q", texts)
	}
}

// idleWorker implements nothing but what it takes to be found.
type idleWorker struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
}

func (idleWorker) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchWorkerResponse]) error {
	if err := stream.Send(&orchestratorv1.WatchWorkerResponse{WorkerId: "w", JournalId: "j", ProcessId: "p", SlotsTotal: 1}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func TestAWorkerWithoutTheContractIsAViolation(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	orchestratorv1.RegisterOrchestratorServiceServer(server, idleWorker{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	s.say("one")
	if _, report := s.once(); oneDetail(t, report)["code"] != "codex-contract-violation" || counted(report) != "1 1 0 1" {
		t.Errorf("report = %v", report)
	}
}

// reports are the reports of a gateway in continuous mode so far.
func (s *system) reports() []map[string]any { return parse(s.t, s.gateway.Stdout()) }

// reported waits for the report about an update that has a detail.
func (s *system) reported(in telegramsim.Injected) (report map[string]any) {
	s.t.Helper()
	id := fmt.Sprint(in.UpdateID)
	s.eventually("report about update "+id, func() bool {
		for _, r := range s.reports() {
			if slices.ContainsFunc(r["error_details"].([]any), func(d any) bool {
				return d.(map[string]any)["context"].(map[string]any)["update_id"] == id
			}) {
				report = r
			}
		}
		return report != nil
	})
	return report
}

func TestAKilledWorkerACancelAndADoubtAreReported(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	prompt := "!scenario hang\nx"
	cancelled := s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	s.say("/cancel")
	if r := s.reported(cancelled); counted(r) != "0 1 0 1" || codes(r)[0] != "turn-cancelled" {
		t.Errorf("report = %v", r)
	}
	s.heard(1)

	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", Reset: true, Execute: true})
	doubtful := s.say("hello")
	if r := s.reported(doubtful); counted(r) != "1 1 0 1" || codes(r)[0] != "delivery-in-doubt" {
		t.Errorf("report = %v", r)
	} else if n := counters(r)["retry_total"]; n != 1.0 {
		t.Errorf("%v retries", n)
	}
	s.heard(3) // the answer came twice

	interrupted := s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 2 })
	if err := s.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	s.startWorker()
	r := s.reported(interrupted)
	if counted(r) != "0 1 0 1" || codes(r)[0] != "turn-interrupted" {
		t.Errorf("report = %v", r)
	}
	if n := counters(r)["worker_restart_total"]; n != 1.0 {
		t.Errorf("%v restarts", n)
	}
}

func counters(report map[string]any) map[string]any {
	return report["telemetry"].(map[string]any)["counters"].(map[string]any)
}

// waitFor bounds a wait for the simulator.
func waitFor(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
