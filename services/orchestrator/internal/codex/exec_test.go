package codex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// fakeCodex is the path of the scripted Codex, built once by TestMain.
var fakeCodex string

// world is an engine over the scripted Codex with a home and a directory of its
// own.
type world struct {
	engine    *Exec
	home, dir string
}

func newWorld(t *testing.T) world {
	t.Helper()
	supervisor, err := proctree.New(proctree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := supervisor.Close(); err != nil {
			t.Error(err)
		}
	})
	system := SystemVariables(os.LookupEnv)
	return world{NewExec(ExecConfig{Bin: fakeCodex, Env: system, Supervisor: supervisor}), t.TempDir(), t.TempDir()}
}

func (w world) request(scenario string, env ...string) Request {
	variables := map[string]string{"FAKE_CODEX_SCENARIO": scenario}
	for _, word := range env {
		name, content, _ := strings.Cut(word, "=")
		variables[name] = content
	}
	base := Base{Path: os.Getenv("PATH"), CodexHome: w.home, System: SystemVariables(os.LookupEnv)}
	return Request{
		Prompt: "hello", Dir: w.dir, Sandbox: SandboxWorkspaceWrite, Approval: "never",
		Env: Environment(base, nil, variables),
	}
}

func (w world) start(t *testing.T, r Request) Run {
	t.Helper()
	run, err := w.engine.Start(r)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// drain reads to the end. A run that does not end is killed, and the test fails.
func drain(t *testing.T, run Run) ([]*event, Exit) {
	t.Helper()
	watchdog := time.AfterFunc(30*time.Second, run.Kill)
	var events []*event
	for {
		batch, err := run.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, batch...)
	}
	exit := run.Wait()
	if !watchdog.Stop() {
		t.Fatal("the run did not end")
	}
	return events, exit
}

// first reads until an event is there.
func first(t *testing.T, run Run) *event {
	t.Helper()
	batch, err := run.Next()
	if err != nil {
		t.Fatal(err)
	}
	return batch[0]
}

func lastText(events []*event) string {
	text := ""
	for _, e := range events {
		if e.GetKind() == orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT {
			text = e.GetText()
		}
	}
	return text
}

func exitCode(e Exit) string {
	if e.Code == nil {
		return "none"
	}
	return fmt.Sprint(*e.Code)
}

func TestConversationGoesOnInItsThread(t *testing.T) {
	w := newWorld(t)
	events, exit := drain(t, w.start(t, w.request("echo")))
	if exitCode(exit) != "0" || lastText(events) != "You said: hello" || len(events) != 4 {
		t.Fatalf("exit %s, %d events, %q", exitCode(exit), len(events), lastText(events))
	}
	again := w.request("echo")
	again.ThreadID, again.Prompt = events[0].GetThreadStarted().GetThreadId(), "recall"
	events, _ = drain(t, w.start(t, again))
	if !strings.Contains(lastText(events), "1. hello") {
		t.Errorf("forgotten: %q", lastText(events))
	}
}

func TestUnknownThreadEndsBeforeAnyEvent(t *testing.T) {
	w := newWorld(t)
	r := w.request("echo")
	r.ThreadID = "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"
	events, exit := drain(t, w.start(t, r))
	if exitCode(exit) != "1" || len(events) != 0 {
		t.Errorf("exit %s, %d events", exitCode(exit), len(events))
	}
}

func TestEventsComeBeforeTheEnd(t *testing.T) {
	w := newWorld(t)
	run := w.start(t, w.request("live_two_events_long_delay"))
	if first(t, run).GetThreadStarted() == nil {
		t.Error("no thread_started")
	}
	select {
	case <-run.Done():
		t.Error("Codex ended before its first event was seen")
	default:
	}
	events, _ := drain(t, run)
	if len(events) != 1 || events[0].GetTurnCompleted() == nil {
		t.Errorf("then came %v", events)
	}
}

func TestChildSeesTheGivenEnvironmentAlone(t *testing.T) {
	t.Setenv("CHANNEL_TOKEN", "secret")
	w := newWorld(t)
	r := w.request("dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV=dump/env")
	drain(t, w.start(t, r))
	dump, err := os.ReadFile(filepath.Join(w.dir, "dump", "env"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(dump)), "\n")
	for _, want := range r.Env {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(string(dump), "CHANNEL_TOKEN") {
		t.Error("the worker's environment is inherited")
	}
}

func TestExits(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		scenario string
		env      []string
		code     string
		message  string
		class    orchestratorv1.FailureClass
	}{
		{"crash", nil, "3", "codex exited non-zero: exit status 3 (stderr redacted)", orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED},
		{"exit1_empty", []string{"FAKE_CODEX_MESSAGE=Error loading config.toml: bad"}, "1",
			"codex exited non-zero: exit status 1 (stderr redacted)", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},
		{"exit1_empty", []string{"FAKE_CODEX_MESSAGE=already has an active writer"}, "1",
			"codex exited non-zero: exit status 1 (stderr redacted)", orchestratorv1.FailureClass_FAILURE_CLASS_THREAD_IN_USE},
	} {
		t.Run(tc.scenario, func(t *testing.T) {
			_, exit := drain(t, w.start(t, w.request(tc.scenario, tc.env...)))
			if exitCode(exit) != tc.code || ExitMessage(exit) != tc.message || exit.Class != tc.class {
				t.Errorf("exit %s, %q, %v", exitCode(exit), ExitMessage(exit), exit.Class)
			}
		})
	}
}

func TestInterruptAndKill(t *testing.T) {
	for _, tc := range []struct {
		scenario string
		stop     func(Run)
		code     string
	}{
		{"hang", Run.Interrupt, "1"},
		{"command_in_progress_hang", Run.Interrupt, "1"},
		{"hang", Run.Kill, "none"},
		{"ignore_sigint", func(r Run) { r.Interrupt(); r.Kill() }, "none"},
		{"close_stdout_and_hang", Run.Kill, "none"},
	} {
		t.Run(tc.scenario, func(t *testing.T) {
			w := newWorld(t)
			run := w.start(t, w.request(tc.scenario))
			first(t, run)
			tc.stop(run)
			_, exit := drain(t, run)
			if runtime.GOOS != "windows" && exitCode(exit) != tc.code {
				t.Errorf("exit %s, signal %q", exitCode(exit), exit.Signal)
			}
		})
	}
}

func TestGrandchildNeitherSurvivesNorHoldsTheOutputOpen(t *testing.T) {
	w := newWorld(t)
	pidFile := filepath.Join(w.dir, "pid")
	run := w.start(t, w.request("grandchild", "FAKE_CODEX_PID_FILE="+pidFile, "FAKE_CODEX_DELAY=300"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	grandchild, err := codexsim.WatchGrandchild(ctx, pidFile)
	if err != nil {
		t.Fatal(err)
	}
	events, exit := drain(t, run)
	if exitCode(exit) != "0" || lastText(events) != "You said: hello" {
		t.Errorf("exit %s, %q", exitCode(exit), lastText(events))
	}
	if err := grandchild.Gone(ctx); err != nil {
		t.Errorf("it lives on: %v", err)
	}
}

func TestHugeAnswerComesWhole(t *testing.T) {
	const size = 5_000_000
	w := newWorld(t)
	events, _ := drain(t, w.start(t, w.request("huge_line", fmt.Sprintf("FAKE_CODEX_BYTES=%d", size))))
	var answer strings.Builder
	for _, e := range events {
		answer.WriteString(e.GetText())
	}
	if answer.String() != codexsim.Text(size) {
		t.Errorf("%d bytes are not the answer", answer.Len())
	}
}

func TestWhatIsNoEventIsNeverShown(t *testing.T) {
	w := newWorld(t)
	for scenario, failures := range map[string]int{
		"emit_normalize_error_with_rawline_secret": 2, "garbage": 16, "nul_invalid_utf8": 1, "over_line": 1, "all_items": 0,
	} {
		t.Run(scenario, func(t *testing.T) {
			events, exit := drain(t, w.start(t, w.request(scenario)))
			if exitCode(exit) != "0" || events[len(events)-1].GetTurnCompleted() == nil {
				t.Errorf("exit %s, the last event is %v", exitCode(exit), events[len(events)-1])
			}
			for _, e := range events {
				checkBounds(t, e)
				if e.GetLineError() != nil {
					failures--
				}
				if shown := e.String(); strings.Contains(shown, codexsim.RawLineSecret) {
					t.Errorf("leaked: %s", shown)
				}
			}
			if failures != 0 {
				t.Errorf("%d line errors too few", failures)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	w := newWorld(t)
	if got, err := w.engine.Version(t.Context()); err != nil || got != "0.169.0" {
		t.Errorf("got %q, %v", got, err)
	}
	impostor, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.engine.config.Bin, w.engine.config.Env = impostor, append(w.engine.config.Env, impostorVariable+"=1")
	if _, err := w.engine.Version(t.Context()); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.engine.Version(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSpawnErrors(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "codex")
	if err := os.WriteFile(notExecutable, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]proctree.SpawnKind{"no-codex-here": proctree.NotFound, filepath.Join(t.TempDir(), "codex"): proctree.NotFound}
	if runtime.GOOS != "windows" { // where the name alone decides
		kinds[notExecutable] = proctree.NotExecutable
	}
	for bin, want := range kinds {
		w := newWorld(t)
		w.engine.config.Bin = bin
		_, err := w.engine.Start(w.request("echo"))
		var spawn *SpawnError
		if !errors.As(err, &spawn) || spawn.Kind != want {
			t.Errorf("%s: got %#v", bin, err)
			continue
		}
		if err.Error() != "codex backend error: spawn" {
			t.Errorf("the text is %q", err)
		}
	}
}

// TestCodexIsLookedUpAtEachStart installs Codex while the worker runs.
func TestCodexIsLookedUpAtEachStart(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	w := newWorld(t)
	w.engine.config.Bin = "codex-installed-later"
	if _, err := w.engine.Start(w.request("echo")); err == nil {
		t.Fatal("started what is not there")
	}
	content, err := os.ReadFile(fakeCodex)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "codex-installed-later"+filepath.Ext(fakeCodex)), content, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, exit := drain(t, w.start(t, w.request("echo"))); exitCode(exit) != "0" {
		t.Errorf("exit %s", exitCode(exit))
	}
}
