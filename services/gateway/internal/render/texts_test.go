package render

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs; -update rewrites it. Got:\n%s", path, got)
	}
}

func TestTexts(t *testing.T) {
	var b strings.Builder
	for _, s := range []struct{ name, text string }{
		{"help", Help()}, {"new", NewConversation()}, {"cancelled", Cancelled()}, {"already ended", AlreadyEnded()}, {"nothing running", NothingRunning()},
		{"interrupted", Interrupted(10 * time.Minute)}, {"interrupted, nothing waits", Interrupted(0)}, {"interrupted, then dropped", InterruptedThen(Drop)}, {"resumed", Decided(Resume, false)}, {"run again", Decided(Again, false)}, {"dropped", Decided(Drop, false)},
		{"decided before", Decided(Resume, true)}, {"nothing interrupted", NothingInterrupted()},
		{"thread not resumable", ThreadNotResumable()},
		{"worker gone", WorkerGone()}, {"worker lost", WorkerLost()}, {"worker draining", WorkerDraining()},
		{"interrupted, worker away", InterruptedAway(10 * time.Minute)}, {"interrupted, record gone", InterruptedGone(10 * time.Minute)},
		{"status, worker drains", Status(SessionStatus{Waiting: 1, WorkerDraining: true})},
		{"worker away", WorkerAway()}, {"not started", NotStarted()}, {"prompt refused", PromptRefused()},
		{"empty answer", Answer("").Messages[0]},
		{"lead of a document", Answer("# Title\n\nFirst paragraph.\n\n" + strings.Repeat("A line of the answer.\n", 1000)).Messages[0]},
		{"status, idle and new", Status(SessionStatus{})},
		{"status, idle", Status(SessionStatus{ThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53"})},
		{"status, everything", Status(SessionStatus{Running: true, RunningFor: 83_400 * time.Millisecond, Waiting: 3, Interrupted: true, WorkerUnreachable: true, ThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53"})},
		{"status, held back", Status(SessionStatus{Waiting: 2, Interrupted: true, HeldFor: 89_500 * time.Millisecond, ThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53"})},
		{"status, one waits", Status(SessionStatus{Running: true, RunningFor: -time.Second, Waiting: 1})},
	} {
		if units(s.text) > MaxUnits || Blank(s.text) {
			t.Errorf("%s is no message", s.name)
		}
		fmt.Fprintf(&b, "==== %s\n%s\n", s.name, s.text)
	}
	golden(t, "texts.golden", b.String())
}

func TestFailures(t *testing.T) {
	var b strings.Builder
	for class, name := range orchestratorv1.FailureClass_name {
		_, explained := explain(orchestratorv1.FailureClass(class))
		if explained != (class != 0) {
			t.Errorf("%s: explained is %v", name, explained)
		}
	}
	for class := range int32(len(orchestratorv1.FailureClass_name)) {
		c := orchestratorv1.FailureClass(class)
		fmt.Fprintf(&b, "==== %s\n%s\n", c, Failure("codex-exec-failed", &orchestratorv1.FinishedError{FailureClass: c}))
	}
	for cause := range int32(len(orchestratorv1.FinishCause_name)) {
		c, code := orchestratorv1.FinishCause(cause), "codex-exec-failed"
		if c == orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT || c == orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT {
			code = CodeTimeout
		}
		fmt.Fprintf(&b, "==== %s\n%s\n", c, Failure(code, &orchestratorv1.FinishedError{Cause: c}))
	}
	for _, code := range []string{CodeInvalidAnswer, CodeContract} {
		fmt.Fprintf(&b, "==== %s\n%s\n", code, Failure(code, nil))
	}
	golden(t, "failures.golden", b.String())
}

func TestFirstLineOfAFailure(t *testing.T) {
	for code, want := range map[string]string{
		"codex-timeout":     "Sorry, the request timed out. Please try again.",
		"codex-exec-failed": "Sorry, something went wrong. Please try again.",
		"":                  "Sorry, something went wrong. Please try again.",
	} {
		if got := Failure(code, nil); got != want {
			t.Errorf("%s: %q", code, got)
		}
		for class := range orchestratorv1.FailureClass_name {
			if first, _, _ := strings.Cut(Failure(code, &orchestratorv1.FinishedError{FailureClass: orchestratorv1.FailureClass(class)}), "\n"); first != want {
				t.Errorf("%s, class %d: %q", code, class, first)
			}
		}
	}
}
