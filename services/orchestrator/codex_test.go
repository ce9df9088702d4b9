package orchestrator_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator"
)

func TestCodexThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, bin := range map[string]string{
		"not installed":         "codex-that-nobody-has",
		"missing file":          filepath.Join(dir, "missing"),
		"file without x":        plain,
		"directory, not a file": dir,
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(c *orchestrator.Config) { c.CodexBin = bin })
			events, finished := w.finish(request("t1", "echo"))
			if outcome(finished) != "FAILED SPAWN" || finished.ExitCode != nil || len(events) != 1 ||
				finished.GetErrorDetail().GetMessage() != "codex backend error: spawn" {
				t.Errorf("finished = %v", finished)
			}
			if turn := w.turn("t1"); turn.GetStartedAt() != nil {
				t.Errorf("turn = %v", turn)
			}
			capabilities, err := w.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
			if err != nil || capabilities.GetCodexVersion() != "" {
				t.Errorf("capabilities = %v, %v", capabilities, err)
			}
			if used := w.status().GetSlotsUsed(); used != 0 {
				t.Errorf("%d slots are used", used)
			}
		})
	}
}

func TestCodexThatMisbehaves(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, tt := range []struct {
		name    string
		r       *orchestratorv1.RunTurnRequest
		want    string
		message string
		answer  string
	}{
		{"exit 1 with nothing", request("a", "exit1_empty"), "FAILED EXIT", "codex exited non-zero: exit status 1 (stderr redacted)", ""},
		{"crash in a command", request("b", "crash"), "FAILED EXIT", "codex exited non-zero: exit status 3 (stderr redacted)", ""},
		{"turn.failed", request("c", "turn_failed"), "FAILED TURN_FAILED", "codex exited non-zero: exit status 1 (stderr redacted)", ""},
		{"garbage", request("d", "garbage"), "SUCCEEDED", "", "hello"},
		{"line over 16 MiB", request("e", "over_line"), "SUCCEEDED", "", "hello"},
		{"NULs and broken UTF-8", request("f", "nul_invalid_utf8"), "SUCCEEDED", "", "hello"},
		{"completed, then exit 1", request("g", "completed_then_exit1"), "SUCCEEDED", "", "hello"},
		{"errors, then an answer", request("h", "error_then_ok"), "SUCCEEDED", "", "hello"},
		{"a flood on stderr", request("i", "stderr_flood"), "SUCCEEDED", "", "hello"},
		{"unknown scenario", request("j", "no_such_scenario"), "FAILED EXIT", "codex exited non-zero: exit status 2 (stderr redacted)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, finished := w.finish(tt.r)
			if outcome(finished) != tt.want || finished.GetErrorDetail().GetMessage() != tt.message || !strings.Contains(finished.GetFinalText(), tt.answer) {
				t.Errorf("finished = %v", finished)
			}
		})
	}
	t.Run("nothing of it leaks", func(t *testing.T) { w.checkLeaks() })
}

// checkLeaks looks for what must stay in the worker's memory: in its files and in
// its log.
func (w *worker) checkLeaks(secrets ...string) {
	w.t.Helper()
	for _, secret := range append(secrets, codexsim.RawLineSecret, codexsim.StderrSecret) {
		if strings.Contains(w.stateFiles(), secret) {
			w.t.Errorf("%s is in the worker's files", secret)
		}
		if strings.Contains(w.logs.String(), secret) {
			w.t.Errorf("%s is in the worker's log", secret)
		}
	}
}

func TestSecretsLeakNowhere(t *testing.T) {
	t.Parallel()
	const promptSecret, envSecret = "PROMPT_SECRET_DO_NOT_LEAK", "ENV_SECRET_DO_NOT_LEAK"
	w := start(t)
	for _, scenario := range []string{"emit_normalize_error_with_rawline_secret", "garbage", "crash", "hang_no_output"} {
		r := request(scenario, scenario, "SECRET="+envSecret)
		if scenario != "garbage" { // which answers with the prompt
			r.Prompt = promptSecret
		}
		stream := w.begin(r, 0)
		if scenario == "hang_no_output" {
			w.cancelTurn(scenario)
		}
		events, err := stream.events()
		if err != nil {
			t.Fatal(err)
		}
		shown := string(encoded(t, events)) + w.turn(scenario).String()
		for _, secret := range []string{promptSecret, envSecret, codexsim.RawLineSecret, codexsim.StderrSecret} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s: %s is shown", scenario, secret)
			}
		}
	}
	refused := request("refused", "echo", "A-B="+envSecret)
	refused.Prompt = promptSecret
	if _, err := w.run(refused).accepted(); err == nil || strings.Contains(err.Error(), "SECRET_DO") {
		t.Errorf("err = %v", err)
	}
	w.checkLeaks(promptSecret, envSecret)
}

func TestThreadThatCannotBeResumed(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, tt := range []struct{ scenario, want string }{
		{"echo", "FAILED THREAD_NOT_RESUMABLE"}, // the thread is unknown
		{"exit1_empty", "FAILED THREAD_NOT_RESUMABLE"},
		{"other_thread", "FAILED THREAD_MISMATCH"},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			r := request(tt.scenario, tt.scenario)
			r.ThreadId = "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"
			_, finished := w.finish(r)
			if outcome(finished) != tt.want {
				t.Errorf("finished = %v", finished)
			}
			if id := w.turn(tt.scenario).GetThreadId(); id != "" {
				t.Errorf("thread id = %s", id)
			}
		})
	}
}

func TestWorkspaceOfASessionIsItsOwnAndKept(t *testing.T) {
	t.Parallel()
	roots := t.TempDir()
	w := start(t, func(c *orchestrator.Config) { c.WorkspaceRoots = []string{roots} })
	dump := func(turnID, session, dir string) {
		t.Helper()
		r := request(turnID, "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV=dump")
		r.SessionId, r.WorkingDir = session, dir
		if _, finished := w.finish(r); outcome(finished) != "SUCCEEDED" {
			t.Fatalf("finished = %v", finished)
		}
	}
	dump("t1", "telegram:1", "")
	dump("t2", "telegram:2", "")
	dump("t3", "telegram:1", "")
	dump("t4", "telegram:1", roots)
	found, err := filepath.Glob(filepath.Join(w.config.StateDir, "workspaces", "*", "dump"))
	if err != nil || len(found) != 2 {
		t.Errorf("workspaces with a dump: %v, %v", found, err)
	}
	for _, dump := range found {
		dir := filepath.Dir(dump)
		if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v: others may look into it", dir, info.Mode(), err)
		}
	}
	content, err := os.ReadFile(filepath.Join(roots, "dump"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "PATH", "HOME", "CODEX_HOME", "CODEX_WRAPPER_TEST_DUMP_ENV", "PWD":
		default:
			if !strings.HasPrefix(name, "FAKE_CODEX_") {
				t.Errorf("codex got %s", name)
			}
		}
	}
}

// hiding is a worker that hides from a Codex what is not its own, or the test is
// skipped: the weaker containments cannot.
func (w *worker) hiding() *worker {
	w.t.Helper()
	switch c := w.capabilities().GetContainment(); {
	case runtime.GOOS != "linux":
		w.t.Skip("not on " + runtime.GOOS + ": only a namespace of Linux hides anything")
	case c != "namespace":
		w.t.Skipf("this machine refuses namespaces to this user: %s hides nothing", c)
	}
	return w
}

func TestSessionSeesNeitherTheJournalNorOtherWorkspaces(t *testing.T) {
	t.Parallel()
	w := start(t).hiding()
	dump := func(turnID, path string) {
		t.Helper()
		w.finish(request(turnID, "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV="+path))
	}
	dump("t1", "own")
	own, err := filepath.Glob(filepath.Join(w.config.StateDir, "workspaces", "*", "own"))
	if err != nil || len(own) != 1 {
		t.Fatalf("own workspace: %v, %v", own, err)
	}
	// Another session writes into its view of the first one's directory and of
	// the private one.
	dump("t2", filepath.Join(filepath.Dir(own[0]), "foreign"))
	dump("t3", filepath.Join(w.config.StateDir, "private", "foreign"))
	for _, path := range []string{filepath.Join(filepath.Dir(own[0]), "foreign"), filepath.Join(w.config.StateDir, "private", "foreign")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("another session wrote %s", path)
		}
	}
	if content, err := os.ReadFile(own[0]); err != nil || len(content) == 0 {
		t.Errorf("the own file: %v", err)
	}
}
