//go:build real

package real_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/responses"
)

// command runs one of the orchestrator's commands with the settings of a worker.
func (w *worker) command(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary(t, "orchestrator"), args...)
	command.Env, command.Dir = w.env, w.dir
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s%s", args, err, output, stderr.String())
	}
	return string(output)
}

// TestAMovedConversationRemembers moves a conversation to a worker of another disk, and
// back: the thread's rollout is all that Codex needs, beside whatever it has kept of
// the thread from earlier.
func TestAMovedConversationRemembers(t *testing.T) {
	provider := startProvider(t, responses.Book{
		"The word is heron.": {responses.Patch("*** Add File: notes/word.txt\n+heron"), responses.Say("Noted.")},
		"The other is crane": {responses.Say("Noted, too.")},
		"Read it":            {responses.Run("cat notes/word.txt"), responses.Say("Read.")},
		"Which words?":       {responses.Recall()},
	})
	a, b := startWorker(t, provider, nil), startWorker(t, provider, nil)
	move := func(from, to *worker, flags ...string) {
		t.Helper()
		file := filepath.Join(from.dir, "session.tgz")
		from.command(t, "drain")
		from.command(t, "export", ask("one", "").GetSessionId(), "--out", file)
		var request map[string]string
		if err := json.Unmarshal([]byte(to.command(t, append([]string{"import", file}, flags...)...)), &request); err != nil {
			t.Fatal(err)
		}
		if request["session_id"] != ask("one", "").GetSessionId() || request["worker_id"] == request["from_worker_id"] {
			t.Errorf("to be asked of the gateway: %v", request)
		}
		from.command(t, "drain", "--undo")
	}
	thread := ""
	at := func(w *worker, prompt string) *turn {
		t.Helper()
		request := ask("one", prompt)
		request.ThreadId = thread
		u := w.run(t, request)
		u.mustSucceed(t)
		if thread == "" {
			thread = u.thread(t)
		}
		if u.thread(t) != thread {
			t.Errorf("%q is in thread %s, not %s", prompt, u.thread(t), thread)
		}
		return u
	}
	at(a, "The word is heron.")
	move(a, b)
	at(b, "The other is crane")
	if answer := at(b, "Which words?").answer(t); !strings.Contains(answer, "heron") || !strings.Contains(answer, "crane") {
		t.Errorf("moved, it remembers %q", answer)
	}
	var read *orchestratorv1.CommandExecution
	for _, item := range at(b, "Read it").completed() {
		if c := item.GetCommandExecution(); c != nil {
			read = c
		}
	}
	if read.GetExitCode() != 0 || read.GetAggregatedOutput() != "heron\n" {
		t.Errorf("in the workspace: %v", read)
	}
	move(b, a, "--replace")
	if answer := at(a, "Which words?").answer(t); !strings.Contains(answer, "heron") || !strings.Contains(answer, "crane") {
		t.Errorf("moved back, it remembers %q", answer)
	}
	if content, err := os.ReadFile(filepath.Join(b.dir, "session.tgz")); err != nil || len(content) == 0 {
		t.Error(err)
	}
}
