package orchestrator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator"
)

// startInSlot runs a worker that takes its slot of a volume.
func startInSlot(t *testing.T, volume, login string) *worker {
	t.Helper()
	return start(t, func(c *orchestrator.Config) {
		c.StateSlotsDir, c.CodexHome, c.WorkspaceDir = volume, login, ""
	})
}

func (w *worker) capabilities() *orchestratorv1.GetCapabilitiesResponse {
	w.t.Helper()
	c, err := w.GetCapabilities(w.t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// said is the answer of a turn.
func said(events []*orchestratorv1.TurnEvent) string {
	return events[len(events)-1].GetFinished().GetFinalText()
}

func TestAWorkerGoesOnInTheSlotThatIsFree(t *testing.T) {
	t.Parallel()
	volume, login := t.TempDir(), filepath.Join(t.TempDir(), "login")
	first, second := startInSlot(t, volume, login), startInSlot(t, volume, login)
	one, two := first.capabilities(), second.capabilities()
	if one.GetWorkerId() == two.GetWorkerId() || one.GetJournalId() == two.GetJournalId() {
		t.Fatalf("two workers are %s and %s", one.GetWorkerId(), two.GetWorkerId())
	}
	ask := request("t1", "echo")
	ask.SessionId, ask.Prompt = "telegram:1", "remember seven"
	events, _ := first.finish(ask)
	thread := ""
	for _, event := range events {
		if started := event.GetThreadStarted(); started != nil {
			thread = started.GetThreadId()
		}
	}

	first.stop()
	third := startInSlot(t, volume, login)
	if again := third.capabilities(); again.GetWorkerId() != one.GetWorkerId() || again.GetJournalId() != one.GetJournalId() {
		t.Errorf("the slot of %s was taken as %s", one.GetWorkerId(), again.GetWorkerId())
	}
	recall := request("t2", "echo")
	recall.SessionId, recall.Prompt, recall.ThreadId = "telegram:1", "recall", thread
	if events, _ := third.finish(recall); !strings.Contains(said(events), "remember seven") {
		t.Errorf("the thread was not taken up: %q", said(events))
	}
}

// A Codex sees nothing of the other slots, whatever session it works for.
func TestASlotIsHiddenFromTheOthers(t *testing.T) {
	t.Parallel()
	volume, login := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(login, "auth.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, second := startInSlot(t, volume, login).hiding(), startInSlot(t, volume, login).hiding()
	for path, worker := range map[string]*worker{filepath.Join(volume, "2", "codex", "foreign"): first, filepath.Join(volume, "1", "home", "foreign"): second} {
		worker.finish(request("of-"+filepath.Base(filepath.Dir(path)), "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV="+path))
		if _, err := os.Stat(path); err == nil {
			t.Errorf("another slot's Codex wrote %s", path)
		}
	}
	own := filepath.Join(volume, "1", "codex", "own")
	first.finish(request("own", "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV="+own))
	if text, err := os.ReadFile(own); err != nil || !strings.Contains(string(text), "CODEX_HOME="+filepath.Dir(own)+"\n") {
		t.Errorf("the own CODEX_HOME: %v\n%s", err, text)
	}
	if text, err := os.ReadFile(filepath.Join(volume, "2", "codex", "auth.json")); err != nil || string(text) != "{}" {
		t.Errorf("the login: %q, %v", text, err)
	}
}

func TestSecretsOfCodexComeFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"key": "secret\n", "empty": "\n", "large": strings.Repeat("x", 40<<10)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	given := func(list string) (orchestrator.Config, error) {
		config := testConfig(t)
		base := map[string]string{"ORCHESTRATOR_CODEX_ENV_FILES": list, "PATH": os.Getenv("PATH")}
		read, err := orchestrator.ConfigFrom(nil, func(name string) string { return base[name] })
		config.CodexEnvFiles = read.CodexEnvFiles
		return config, err
	}
	config, err := given("CODEX_API_KEY=" + filepath.Join(dir, "key") + ",OTHER=" + filepath.Join(dir, "empty"))
	if err != nil {
		t.Fatal(err)
	}
	w := startWith(t, config)
	dump := filepath.Join(dir, "dump")
	w.finish(request("t1", "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV="+dump))
	text, err := os.ReadFile(dump)
	if err != nil || !strings.Contains(string(text), "\nCODEX_API_KEY=secret\n") && !strings.HasPrefix(string(text), "CODEX_API_KEY=secret\n") || strings.Contains(string(text), "OTHER=") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, list := range []string{"CODEX_API_KEY", "=x", "A B=x"} {
		if _, err := given(list); err == nil || !strings.Contains(err.Error(), "ORCHESTRATOR_CODEX_ENV_FILES") {
			t.Errorf("%q: %v", list, err)
		}
	}
	for _, name := range []string{"none", "large"} {
		config, err := given("KEY=" + filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := config.CheckPaths(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
