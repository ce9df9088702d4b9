package orchestrator_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/orchestrator"
)

// command runs a command of the program with the settings of a worker.
func (w *worker) command(args ...string) (status int, stdout, stderr string) {
	w.t.Helper()
	env := lifecycle.Lookup(func(name string) (string, bool) {
		value := map[string]string{"ORCHESTRATOR_LISTEN_ADDR": w.addr, "ORCHESTRATOR_STATE_DIR": w.config.StateDir,
			"ORCHESTRATOR_STATE_SLOTS_DIR": w.config.StateSlotsDir, "ORCHESTRATOR_CODEX_HOME": w.config.CodexHome, "ORCHESTRATOR_WORKSPACE_DIR": w.config.WorkspaceDir}[name]
		return value, value != ""
	})
	var out, errors bytes.Buffer
	status = orchestrator.Main(w.t.Context(), args, env, &out, &errors)
	return status, out.String(), errors.String()
}

// must is command for one that has to succeed.
func (w *worker) must(args ...string) (stdout string) {
	w.t.Helper()
	status, stdout, stderr := w.command(args...)
	if status != 0 {
		w.t.Fatalf("%v: status %d: %s%s", args, status, stdout, stderr)
	}
	return stdout
}

// refuses runs a command that must not be carried out.
func (w *worker) refuses(why string, args ...string) {
	w.t.Helper()
	status, stdout, stderr := w.command(args...)
	if status == 0 || !strings.Contains(stdout+stderr, why) {
		w.t.Errorf("%v: status %d: %s%s; want %q", args, status, stdout, stderr, why)
	}
}

// ask runs a turn of a session and returns its answer.
func (w *worker) ask(turnID, sessionID, threadID, prompt string) (answer, thread string) {
	w.t.Helper()
	r := request(turnID, "echo")
	r.SessionId, r.ThreadId, r.Prompt = sessionID, threadID, prompt
	_, finished := w.finish(r)
	if outcome(finished) != "SUCCEEDED" {
		w.t.Fatalf("turn %s ended as %v", turnID, finished)
	}
	return finished.GetFinalText(), w.turn(turnID).GetThreadId()
}

// own is the workspace of the one session that a worker has.
func (w *worker) own() string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.config.StateDir, "workspaces", "*"))
	if err != nil || len(found) != 1 {
		w.t.Fatalf("workspaces: %v, %v", found, err)
	}
	return found[0]
}

func TestASessionGoesOnAtAnotherWorker(t *testing.T) {
	t.Parallel()
	a, b := start(t), start(t)
	_, thread := a.ask("7-1-1-1", "telegram:1", "", "the word is heron")
	if err := os.WriteFile(filepath.Join(a.own(), "made.txt"), []byte("by Codex"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "out", "session.tgz")
	a.refuses("takes turns", "export", "telegram:1", "--out", file)
	a.refuses("goes with a session", "export", "telegram:1")
	a.refuses("goes with a session", "export", "--out", file)
	if out := a.must("drain"); !strings.HasSuffix(out, "or its next start\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("drain says %q", out)
	}
	a.refuses("does not know", "export", "telegram:2", "--out", file)
	a.refuses("is none of Codex's thread ids", "export", "telegram:2", "--thread", thread[1:], "--out", file)
	if out := a.must("export"); out != `{"session_id":"telegram:1","thread_id":"`+thread+`","last_turn_id":"7-1-1-1"}`+"\n" {
		t.Errorf("sessions: %s", out)
	}
	a.must("export", "telegram:1", "--out", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the archive is %v, %v", info, err)
	}
	a.refuses("very worker", "import", file)

	var move map[string]string
	if err := json.Unmarshal([]byte(b.must("import", file)), &move); err != nil {
		t.Fatal(err)
	}
	if move["session_id"] != "telegram:1" || move["from_worker_id"] != a.capabilities().GetWorkerId() || move["worker_id"] != b.capabilities().GetWorkerId() ||
		move["thread_id"] != thread || move["last_turn_id"] != "7-1-1-1" {
		t.Errorf("to be asked of the gateway: %v", move)
	}
	if answer, same := b.ask("7-1-2-1", "telegram:1", thread, "recall"); !strings.Contains(answer, "heron") || same != thread {
		t.Errorf("in thread %s it answers %q", same, answer)
	}
	if content, err := os.ReadFile(filepath.Join(b.own(), "made.txt")); err != nil || string(content) != "by Codex" {
		t.Errorf("the workspace has %q, %v", content, err)
	}

	// A second time there is something to be lost.
	b.refuses("--replace", "import", file)
	b.must("import", "--replace", file)
	if left, err := filepath.Glob(filepath.Join(b.config.StateDir, "workspaces", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if answer, _ := b.ask("7-1-3-1", "telegram:1", thread, "recall"); !strings.Contains(answer, "heron") {
		t.Errorf("replaced, it answers %q", answer)
	}
}

func TestAStartCleansUpAfterAnImportThatWasKilled(t *testing.T) {
	t.Parallel()
	w := start(t)
	left := filepath.Join(w.config.StateDir, "workspaces", ".import-"+w.capabilities().GetWorkerId())
	w.stop()
	if err := os.MkdirAll(filepath.Join(left, "unpacked"), 0o700); err != nil {
		t.Fatal(err)
	}
	startWith(t, w.config)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func TestTheDiskOfADeadWorkerCanBeEmptied(t *testing.T) {
	t.Parallel()
	a, b := start(t), start(t)
	_, one := a.ask("1", "telegram:1", "", "the word is heron")
	_, two := a.ask("2", "telegram:2:5", "", "the word is crane")
	a.stop()
	dir := t.TempDir()
	a.must("export", "--all", "--out", dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.session.tgz"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		b.must("import", file)
	}
	for session, want := range map[string][2]string{"telegram:1": {one, "heron"}, "telegram:2:5": {two, "crane"}} {
		if answer, _ := b.ask("again "+session, session, want[0], "recall"); !strings.Contains(answer, want[1]) {
			t.Errorf("%s answers %q", session, answer)
		}
	}
	// A conversation whose thread is gone keeps no other one back.
	removed := 0
	err = filepath.WalkDir(a.config.CodexHome, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Base(path), one) {
			return err
		}
		removed++
		return os.Remove(path)
	})
	if err != nil || removed != 1 {
		t.Fatalf("%d rollouts removed, %v", removed, err)
	}
	dir = t.TempDir()
	a.refuses("telegram:1", "export", "--all", "--out", dir)
	if files, err := filepath.Glob(filepath.Join(dir, "*.session.tgz")); err != nil || len(files) != 1 {
		t.Errorf("files: %v, %v", files, err)
	}
	a.config.StateDir = t.TempDir()
	a.refuses("no worker was ever started", "export")
}

func TestAWorkerOfASharedVolumeKnowsItsSlot(t *testing.T) {
	t.Parallel()
	volume, login := t.TempDir(), t.TempDir()
	a, b := startInSlot(t, volume, login), startInSlot(t, volume, login)
	_, thread := a.ask("1", "telegram:1", "", "the word is heron")
	file := filepath.Join(t.TempDir(), "session.tgz")
	a.must("drain")
	a.must("export", "telegram:1", "--out", file)
	b.must("import", file)
	if answer, _ := b.ask("2", "telegram:1", thread, "recall"); !strings.Contains(answer, "heron") {
		t.Errorf("it answers %q", answer)
	}
	a.stop()
	a.refuses("only a worker that runs can say which slot", "export")
}

func TestDrainShowsWhatRunsAndWaitsForIt(t *testing.T) {
	t.Parallel()
	w := start(t)
	turn := w.begin(request("t1", "hang"), 2)
	if out := w.must("drain", "--patience", "3600", "--detach"); !strings.HasSuffix(out, "1 turn runs, for 1h0m0s at most\n") {
		t.Errorf("detached, it says %q", out)
	}
	ended := make(chan string, 1)
	go func() { _, out, _ := w.command("drain", "--patience", "3600"); ended <- out }()
	w.cancelTurn("t1")
	w.end(turn)
	if out := <-ended; !strings.HasSuffix(out, "or its next start\n") {
		t.Errorf("it says %q", out)
	}
	if out := w.must("drain", "--undo"); !strings.HasSuffix(out, "takes turns again\n") || w.status().GetDraining() {
		t.Errorf("undone, it says %q", out)
	}
	long := w.begin(request("t2", "hang"), 2)
	w.must("drain") // the worker's own patience, which is none
	if finished := w.end(long); outcome(finished) != "INTERRUPTED DRAINED" {
		t.Errorf("what ran ended as %v", finished)
	}
	w.refuses("number of seconds", "drain", "--patience", "soon")
	w.stop()
	w.refuses("does not answer", "drain")
}
