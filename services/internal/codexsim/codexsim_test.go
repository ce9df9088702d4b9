package codexsim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/codexsim"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "codexsim")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if binary, err = codexsim.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(dir)
		os.Exit(status)
	}))
}

var newThread = []string{"--ask-for-approval", "never", "exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write", "-"}

func resume(id string) []string {
	return append(slices.Clone(newThread[:len(newThread)-1]), "resume", id, "-")
}

// outcome is what a process left.
type outcome struct {
	stdout, stderr string
	status         int
}

// fake builds the command of a process in a world of its own.
func fake(t *testing.T, home, prompt string, args []string, env ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir = t.TempDir()
	command.Env = append([]string{"CODEX_HOME=" + home, "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}, env...)
	command.Stdin = strings.NewReader(prompt)
	return command
}

func run(t *testing.T, command *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// event is what the tests look at in a line.
type event struct {
	Type     string `json:"type"`
	ThreadID string `json:"thread_id"`
	Item     struct{ Type, Text string }
	Usage    struct {
		InputTokens int `json:"input_tokens"`
	}
}

func events(t *testing.T, stdout string) (all []event) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, e)
	}
	return all
}

func TestConversationIsRemembered(t *testing.T) {
	home := t.TempDir()
	first := run(t, fake(t, home, "my name is Ada", newThread))
	if first.status != 0 {
		t.Fatalf("exit %d: %s", first.status, first.stderr)
	}
	said := events(t, first.stdout)
	if len(said) != 4 || said[2].Item.Text != "You said: my name is Ada" || said[3].Usage.InputTokens != 120 {
		t.Fatalf("unexpected conversation: %+v", said)
	}
	second := run(t, fake(t, home, "recall what I said", resume(said[0].ThreadID)))
	again := events(t, second.stdout)
	if again[0].ThreadID != said[0].ThreadID || !strings.Contains(again[2].Item.Text, "1. my name is Ada") {
		t.Errorf("not remembered: %+v", again)
	}
	if again[3].Usage.InputTokens != 240 {
		t.Errorf("usage is not cumulative: %+v", again[3])
	}
	unrelated := events(t, run(t, fake(t, home, "recall", newThread)).stdout)
	if strings.Contains(unrelated[2].Item.Text, "Ada") {
		t.Errorf("a new thread remembers: %+v", unrelated[2])
	}
}

func TestArgumentsAreRefusedAsByCodex(t *testing.T) {
	known := "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"
	for _, tc := range []struct {
		name   string
		args   string
		env    []string
		prompt string
		status int
		stderr string
	}{
		{"approval after exec", "exec --ask-for-approval never --json -", nil, "hi", 2, "unexpected argument '--ask-for-approval'"},
		{"directory after resume", "exec --json resume -C /tmp " + known + " -", nil, "hi", 2, "unexpected argument '-C'"},
		{"sandbox after resume", "exec --json resume --sandbox read-only " + known + " -", nil, "hi", 2, "unexpected argument '--sandbox'"},
		{"unknown sandbox", "exec --json --sandbox none -", nil, "hi", 2, "invalid value 'none'"},
		{"policy that is gone", "--ask-for-approval untrusted exec --json -", nil, "hi", 2, "invalid value 'untrusted'"},
		{"outside a repository", "--ask-for-approval never exec --json --sandbox workspace-write -", nil, "hi", 1, "Not inside a trusted directory"},
		{"missing directory", strings.Join(newThread[:7], " ") + " -C does-not-exist -", nil, "hi", 1, "No such file"},
		{"unknown thread", strings.Join(resume(known), " "), nil, "hi", 1, "no rollout found"},
		{"empty prompt", strings.Join(newThread, " "), nil, " \n", 1, "No prompt"},
		{"prompt that is not UTF-8", strings.Join(newThread, " "), nil, "\xff", 1, "not valid UTF-8"},
		{"unknown scenario", strings.Join(newThread, " "), []string{"FAKE_CODEX_SCENARIO=nope"}, "hi", 2, "unknown scenario"},
		{"other sandbox than expected", strings.Join(newThread, " "), []string{"FAKE_CODEX_EXPECT_SANDBOX=danger-full-access"}, "hi", codexsim.ExitUnexpectedArgs, "--sandbox is workspace-write"},
		{"approval where none is expected", strings.Join(newThread, " "), []string{"FAKE_CODEX_EXPECT_APPROVAL=<absent>"}, "hi", codexsim.ExitUnexpectedArgs, "--ask-for-approval is never"},
		{"no JSON", "--ask-for-approval never exec --sandbox workspace-write -", nil, "hi", codexsim.ExitUnexpectedArgs, "--json is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(t, fake(t, t.TempDir(), tc.prompt, strings.Fields(tc.args), tc.env...))
			if got.status != tc.status || got.stdout != "" || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q", got.status, got.stdout, got.stderr)
			}
		})
	}
}

func TestExpectationsAreMet(t *testing.T) {
	interactive := newThread[2:]
	got := run(t, fake(t, t.TempDir(), "hi", interactive, "FAKE_CODEX_EXPECT_APPROVAL=<absent>"))
	if got.status != 0 {
		t.Errorf("exit %d: %s", got.status, got.stderr)
	}
}

func TestThreadNameThatIsNoUUIDStartsANewThread(t *testing.T) {
	got := run(t, fake(t, t.TempDir(), "hi", resume("not-a-uuid")))
	if got.status != 0 || events(t, got.stdout)[0].ThreadID == "not-a-uuid" {
		t.Errorf("exit %d: %s", got.status, got.stdout)
	}
}

func TestOpenStdinFails(t *testing.T) {
	command := fake(t, t.TempDir(), "", newThread, "FAKE_CODEX_STDIN_TIMEOUT=50")
	command.Stdin = nil
	pipe, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if got := run(t, command); got.status != codexsim.ExitStdinOpen {
		t.Errorf("exit %d: %s", got.status, got.stderr)
	}
}

func TestVersion(t *testing.T) {
	got := run(t, fake(t, t.TempDir(), "", []string{"--version"}))
	if got.status != 0 || got.stdout != "codex-cli 0.169.0\n" {
		t.Errorf("exit %d, %q", got.status, got.stdout)
	}
}

func TestEnvironmentIsDumped(t *testing.T) {
	command := fake(t, t.TempDir(), "hi", newThread, "FAKE_CODEX_SCENARIO=dump_env_then_exit",
		"CODEX_WRAPPER_TEST_DUMP_ENV="+filepath.Join("new", "dir", "env"), "AB=2", "A=1")
	if got := run(t, command); got.status != 0 {
		t.Fatalf("exit %d: %s", got.status, got.stderr)
	}
	dump, err := os.ReadFile(filepath.Join(command.Dir, "new", "dir", "env"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(dump), "A=1\nAB=2\nCODEX_HOME=") {
		t.Errorf("unexpected dump %q", dump)
	}
}

func TestPromptChoosesScenarioOnlyWhereAllowed(t *testing.T) {
	prompt := "!scenario huge_line FAKE_CODEX_BYTES=100\nhello"
	allowed := events(t, run(t, fake(t, t.TempDir(), prompt, newThread, "FAKE_CODEX_PROMPT_SCENARIOS=1")).stdout)
	if allowed[2].Item.Text != codexsim.Text(100) {
		t.Errorf("the prompt was not obeyed: %q", allowed[2].Item.Text)
	}
	refused := events(t, run(t, fake(t, t.TempDir(), prompt, newThread)).stdout)
	if refused[2].Item.Text != "You said: "+prompt {
		t.Errorf("the prompt was obeyed: %q", refused[2].Item.Text)
	}
}

func TestEveryRunIsLogged(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	home := t.TempDir()
	run(t, fake(t, home, "one", newThread, "FAKE_CODEX_LOG="+log))
	run(t, fake(t, home, "two", newThread, "FAKE_CODEX_LOG="+log, "FAKE_CODEX_SCENARIO=crash"))
	entries, err := codexsim.ReadLog(log)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %v %d", e.Event, e.PromptSHA256 == codexsim.PromptDigest("one"), e.Status))
	}
	want := []string{"start true 0", "end true 0", "start false 0", "end false 3"}
	if !slices.Equal(got, want) {
		t.Errorf("log is %q, want %q", got, want)
	}
}

func TestScenariosThatEndByThemselves(t *testing.T) {
	for _, tc := range []struct {
		scenario string
		status   int
		lines    int
		contains string
	}{
		{"live_two_events_long_delay", 0, 2, "turn.completed"},
		{"emit_normalize_error_with_rawline_secret", 0, 3, codexsim.RawLineSecret},
		{"slow", 0, 4, "You said"},
		{"turn_1s", 0, 4, "You said"},
		{"huge_line", 0, 4, "lazy dog"},
		{"over_line", 0, 5, "You said"},
		{"crash", 3, 3, "in_progress"},
		{"exit0_empty", 0, 0, ""},
		{"exit1_empty", 1, 0, ""},
		{"turn_failed", 1, 4, "429"},
		{"garbage", 0, 22, codexsim.RawLineSecret},
		{"nul_invalid_utf8", 0, 9, "\x00"},
		{"all_items", 0, 23, "mcp_tool_call"},
		{"flood", 0, 10, "item_0000006"},
		{"paced", 0, 10, "item_6"},
		{"completed_then_exit1", 1, 4, "turn.completed"},
		{"error_then_ok", 0, 6, "Reconnecting... 2/5"},
		{"other_thread", 0, 4, "You said"},
		{"stderr_flood", 0, 4, "You said"},
	} {
		t.Run(tc.scenario, func(t *testing.T) {
			t.Parallel()
			got := run(t, fake(t, t.TempDir(), "hi", newThread, "FAKE_CODEX_SCENARIO="+tc.scenario,
				"FAKE_CODEX_EVENTS=7", "FAKE_CODEX_DELAY=1"))
			if got.status != tc.status || strings.Count(got.stdout, "\n") != tc.lines || !strings.Contains(got.stdout, tc.contains) {
				t.Errorf("exit %d, %d lines, stderr %.200q", got.status, strings.Count(got.stdout, "\n"), got.stderr)
			}
		})
	}
}

func TestInterruptEndsAHangingRun(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: os.Process.Signal cannot send an interrupt on Windows")
	}
	for _, scenario := range []string{"hang", "close_stdout_and_hang", "command_in_progress_hang", "linger_after_completed"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			log := filepath.Join(t.TempDir(), "log")
			command := fake(t, t.TempDir(), "hi", newThread, "FAKE_CODEX_SCENARIO="+scenario, "FAKE_CODEX_LOG="+log)
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			waitForLog(t, log)
			if err := command.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if command.Wait(); command.ProcessState.ExitCode() != 1 {
				t.Errorf("%v", command.ProcessState)
			}
		})
	}
}

func TestIgnoredInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: os.Process.Signal cannot send an interrupt on Windows")
	}
	log := filepath.Join(t.TempDir(), "log")
	command := fake(t, t.TempDir(), "hi", newThread, "FAKE_CODEX_SCENARIO=ignore_sigint", "FAKE_CODEX_LOG="+log)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, log)
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if command.Wait(); command.ProcessState.ExitCode() != -1 {
		t.Errorf("it left by itself: %v", command.ProcessState)
	}
}

func waitForLog(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for poll := time.NewTicker(time.Millisecond); ; {
		entries, err := codexsim.ReadLog(path)
		if err == nil && len(entries) > 0 {
			poll.Stop()
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("no start in the log: %v", err)
		}
	}
}

func TestGrandchildOutlivesCodexAndItsDeathIsSeen(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	command := fake(t, t.TempDir(), "hi", newThread, "FAKE_CODEX_SCENARIO=grandchild", "FAKE_CODEX_PID_FILE="+pidFile)
	if err := command.Run(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watched, err := codexsim.WatchGrandchild(ctx, pidFile)
	if err != nil {
		t.Fatal(err)
	}
	alive, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if err := watched.Gone(alive); err == nil {
		t.Fatal("the grandchild died with its parent")
	}
	content, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(content), &pid); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := watched.Gone(ctx); err != nil {
		t.Errorf("its death was not seen: %v", err)
	}
}
