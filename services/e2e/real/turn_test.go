//go:build real

package real_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/responses"
)

// bigAnswer is a text of 5,000,000 bytes in which no two lines are equal.
func bigAnswer() string {
	var text strings.Builder
	for i := 0; text.Len() < 5_000_000; i++ {
		text.WriteString("Zeile ")
		text.WriteString(strings.Repeat("ä", i%37))
		text.WriteString(" of the answer €\n")
	}
	return text.String()[:4_999_999] + "."
}

func TestWorkerRunsRealCodex(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{
		"Hello?":     {responses.Say("Hello.")},
		"Think":      {responses.Think("Hmm."), responses.Say("First."), responses.Say("Second.")},
		"Run it":     {responses.Run("pwd; echo $((40+2)); exit 3"), responses.Say("It failed.")},
		"Patch it":   {responses.Patch("*** Add File: notes/made.txt\n+made by a patch"), responses.Say("Patched.")},
		"Plan it":    {responses.Plan(1, "look", "write"), responses.Plan(2, "look", "write"), responses.Say("Planned.")},
		"Big":        {responses.Say(bigAnswer())},
		"Environ":    {responses.Run("env; cat /proc/*/environ | tr '\\0' '\\n'"), responses.Say("Seen.")},
		"Silent end": {responses.Run("true")},
	}), nil)

	t.Run("a plain answer", func(t *testing.T) {
		u := w.run(t, ask("plain", "Hello?"))
		u.mustSucceed(t)
		if got := u.answer(t); got != "Hello." || u.finished(t).GetFinalText() != got || u.finished(t).GetExitCode() != 0 {
			t.Errorf("answer %q, finished %v", got, u.finished(t))
		}
	})
	t.Run("the last of several messages is the answer", func(t *testing.T) {
		u := w.run(t, ask("several", "Think"))
		u.mustSucceed(t)
		items := u.completed()
		if len(items) != 3 || items[0].GetReasoning() == nil || items[1].GetAgentMessage() == nil || u.answer(t) != "Second." {
			t.Errorf("answer %q, items %v", u.answer(t), items)
		}
	})
	t.Run("a turn without a message", func(t *testing.T) {
		u := w.run(t, ask("silent", "Silent end"))
		u.mustSucceed(t)
		if u.finished(t).GetFinalText() != "" || u.finished(t).GetAnswerSequence() != 0 {
			t.Errorf("finished %v", u.finished(t))
		}
	})
	t.Run("a shell command", func(t *testing.T) {
		u := w.run(t, ask("command", "Run it"))
		u.mustSucceed(t)
		items := u.completed()
		command := items[0].GetCommandExecution()
		output := strings.Split(strings.TrimSpace(command.GetAggregatedOutput()), "\n")
		if command.GetExitCode() != 3 || len(output) != 2 || output[1] != "42" || items[0].GetStatus() != "failed" {
			t.Errorf("the command's item is %v", items[0])
		}
		if filepath.Dir(output[0]) != w.workspaces {
			t.Errorf("the command ran in %s, not in a directory of its own beneath %s", output[0], w.workspaces)
		}
	})
	t.Run("a patch", func(t *testing.T) {
		u := w.run(t, ask("patch", "Patch it"))
		u.mustSucceed(t)
		changes := u.completed()[0].GetFileChange().GetChanges()
		if len(changes) != 1 || changes[0].GetKind() != "add" || !strings.HasPrefix(changes[0].GetPath(), w.workspaces) {
			t.Fatalf("changes: %v", changes)
		}
		if text, err := os.ReadFile(changes[0].GetPath()); err != nil || string(text) != "made by a patch\n" {
			t.Errorf("on disk: %q, %v", text, err)
		}
	})
	t.Run("a plan", func(t *testing.T) {
		u := w.run(t, ask("plan", "Plan it"))
		u.mustSucceed(t)
		var plan []*orchestratorv1.TodoItem
		for _, item := range u.completed() {
			if list := item.GetTodoList(); list != nil {
				plan = list.GetItems()
			}
		}
		if len(plan) != 2 || plan[0].GetText() != "look" || !plan[1].GetCompleted() {
			t.Errorf("plan: %v", plan)
		}
	})
	t.Run("an answer of 5 MB", func(t *testing.T) {
		u := w.run(t, ask("big", "Big"))
		u.mustSucceed(t)
		if got, want := u.answer(t), bigAnswer(); got != want {
			t.Errorf("%d bytes arrived that differ from the %d sent", len(got), len(want))
		}
		finished := u.finished(t)
		if !finished.GetFinalTextTruncated() || len(finished.GetFinalText()) > maxText ||
			!strings.HasPrefix(bigAnswer(), finished.GetFinalText()) {
			t.Errorf("final_text of %d bytes, truncated %v", len(finished.GetFinalText()), finished.GetFinalTextTruncated())
		}
	})
	t.Run("nothing of the worker's environment reaches a command", func(t *testing.T) {
		u := w.run(t, ask("environment", "Environ"))
		u.mustSucceed(t)
		output := u.completed()[0].GetCommandExecution().GetAggregatedOutput()
		if output == "" || strings.Contains(output, workerSecret) {
			t.Errorf("the command printed %d bytes; the worker's secret among them: %v", len(output), strings.Contains(output, workerSecret))
		}
	})
}

func TestThreadsRemember(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{
		"The word is heron.": {responses.Say("Noted.")},
		"Which word?":        {responses.Recall()},
	}), nil)
	first := w.run(t, ask("one", "The word is heron."))
	first.mustSucceed(t)

	again := ask("one", "Which word?")
	again.ThreadId = first.thread(t)
	second := w.run(t, again)
	second.mustSucceed(t)
	if second.thread(t) != first.thread(t) || !strings.Contains(second.answer(t), "The word is heron.") {
		t.Errorf("the resumed thread says %q", second.answer(t))
	}
	usage := func(u *turn) int64 {
		for _, event := range u.events {
			if completed := event.GetTurnCompleted(); completed != nil {
				return completed.GetUsage().GetInputTokens()
			}
		}
		return 0
	}
	if one, two := usage(first), usage(second); one != responses.DefaultUsage.Input || two != 2*one {
		t.Errorf("input tokens %d, then %d: not cumulative over the thread", one, two)
	}

	other := w.run(t, ask("two", "Which word?"))
	other.mustSucceed(t)
	if other.thread(t) == first.thread(t) || other.answer(t) != "I remember 0:\n" {
		t.Errorf("another session says %q", other.answer(t))
	}
}

func TestFailuresOfTheProvider(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{
		"Too long": {responses.Fail("context_length_exceeded", "Your input exceeds the context window of this model.")},
		"Too many": {responses.Refuse(429)},
		"Hello?":   {responses.Say("Hello.")},
	}), nil)
	wrongKey := ask("wrong key", "Hello?")
	wrongKey.Env = map[string]string{responses.KeyVariable: "sk-wrong"}
	unknownThread := ask("unknown thread", "Hello?")
	unknownThread.ThreadId = "0198c0de-0000-7000-8000-000000000000"
	for _, c := range []struct {
		name    string
		request *orchestratorv1.RunTurnRequest
		cause   orchestratorv1.FinishCause
		class   orchestratorv1.FailureClass
	}{
		{
			"context length", ask("too long", "Too long"),
			orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH,
		},
		{
			"rate limit", ask("too many", "Too many"),
			orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT,
		},
		{
			"another key in the request's environment", wrongKey,
			orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED, orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION,
		},
		{
			"a thread that does not exist", unknownThread,
			orchestratorv1.FinishCause_FINISH_CAUSE_THREAD_NOT_RESUMABLE, orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			finished := w.run(t, c.request).finished(t)
			detail := finished.GetErrorDetail()
			if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_FAILED || finished.GetExitCode() != 1 ||
				detail.GetCause() != c.cause || detail.GetFailureClass() != c.class {
				t.Errorf("finished: %v", finished)
			}
		})
	}
}
