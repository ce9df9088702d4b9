package codexsim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scenario is a script that Codex plays.
type scenario struct {
	name      string
	play      func(*turn) (status int)
	instant   bool // never waits: SIGINT ends it as any program
	deaf      bool // ignores SIGINT
	forgetful bool // does not resume
}

// scenarios is the table of the package comment.
func scenarios() map[string]scenario {
	all := []scenario{
		{name: "echo", play: echo, instant: true},
		{name: "live_two_events_long_delay", play: liveTwoEvents},
		{name: "emit_normalize_error_with_rawline_secret", play: rawLineSecret},
		{name: "dump_env_then_exit", play: dumpEnv},
		{name: "slow", play: slow},
		{name: "turn_1s", play: turnOneSecond},
		{name: "huge_line", play: hugeLine},
		{name: "over_line", play: overLine},
		{name: "hang", play: hang},
		{name: "hang_no_output", play: (*turn).hang},
		{name: "crash", play: crash},
		{name: "exit0_empty", play: func(*turn) int { return 0 }},
		{name: "exit1_empty", play: exitEmpty},
		{name: "turn_failed", play: turnFailed},
		{name: "garbage", play: garbage},
		{name: "nul_invalid_utf8", play: nulInvalidUTF8},
		{name: "close_stdout_and_hang", play: closeStdoutAndHang},
		{name: "ignore_sigint", play: hang, deaf: true},
		{name: "grandchild", play: grandchild},
		{name: "command_in_progress_hang", play: commandInProgressHang},
		{name: "all_items", play: allItems},
		{name: "flood", play: flood},
		{name: "paced", play: paced},
		{name: "linger_after_completed", play: lingerAfterCompleted},
		{name: "completed_then_exit1", play: completedThenExit1},
		{name: "error_then_ok", play: errorThenOK},
		{name: "other_thread", play: echo, instant: true, forgetful: true},
		{name: "stderr_flood", play: stderrFlood},
	}
	table := make(map[string]scenario, len(all))
	for _, s := range all {
		table[s.name] = s
	}
	return table
}

func echo(t *turn) int {
	t.begin()
	return t.finish(t.reply())
}

func liveTwoEvents(t *turn) int {
	t.threadStarted()
	t.pause(500 * time.Millisecond)
	t.turnCompleted()
	return 0
}

func rawLineSecret(t *turn) int {
	t.out.text("this line is not JSON: " + RawLineSecret)
	t.out.text(fmt.Sprintf(`{"type":"thread.started","note":%s}`, quote(RawLineSecret)))
	t.turnCompleted()
	return 0
}

func dumpEnv(t *turn) int {
	if err := writeEnv(t.getenv("CODEX_WRAPPER_TEST_DUMP_ENV"), t.process.Env); err != nil {
		fmt.Fprintln(t.process.Stderr, "fakecodex:", err)
		return ExitInternal
	}
	t.threadStarted()
	t.turnCompleted()
	return 0
}

// writeEnv writes the environment, whole or not at all.
func writeEnv(path string, env []string) error {
	if path == "" {
		return errors.New("CODEX_WRAPPER_TEST_DUMP_ENV is not set")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// Windows keeps the working directory of each drive under names such as "=C:".
	lines := slices.DeleteFunc(slices.Clone(env), func(word string) bool { return strings.HasPrefix(word, "=") })
	slices.SortFunc(lines, func(a, b string) int {
		nameA, _, _ := strings.Cut(a, "=")
		nameB, _, _ := strings.Cut(b, "=")
		return strings.Compare(nameA, nameB)
	})
	return writeWhole(path, strings.Join(lines, "\n")+"\n")
}

func slow(t *turn) int {
	delay := t.milliseconds("FAKE_CODEX_DELAY", 1000)
	for _, event := range []func(){t.threadStarted, t.turnStarted, func() { t.answer(t.reply()) }, t.turnCompleted} {
		t.pause(delay)
		event()
	}
	return 0
}

func turnOneSecond(t *turn) int {
	t.begin()
	t.pause(time.Second)
	return t.finish(t.reply())
}

func hang(t *turn) int {
	t.begin()
	return t.hang()
}

func crash(t *turn) int {
	t.begin()
	t.out.text(`{"type":"item.started","item":{"id":"item_0","type":"command_execution","command":"/bin/bash -lc 'make'","aggregated_output":"","exit_code":null,"status":"in_progress"}}`)
	fmt.Fprintf(t.process.Stderr, "thread 'main' panicked at core/src/codex.rs:1: %s\n", StderrSecret)
	return 3
}

func exitEmpty(t *turn) int {
	fmt.Fprintln(t.process.Stderr, valueOr(t.getenv("FAKE_CODEX_MESSAGE"), "Error: "+StderrSecret))
	return exitFailed
}

func turnFailed(t *turn) int {
	message := valueOr(t.getenv("FAKE_CODEX_MESSAGE"), "exceeded retry limit, last status: 429 Too Many Requests")
	t.begin()
	t.out.text(fmt.Sprintf(`{"type":"error","message":%s}`, quote(message)))
	t.out.text(fmt.Sprintf(`{"type":"turn.failed","error":{"message":%s}}`, quote(message)))
	return exitFailed
}

func closeStdoutAndHang(t *turn) int {
	t.begin()
	if err := t.process.Stdout.Close(); err != nil {
		return ExitInternal
	}
	return t.hang()
}

func commandInProgressHang(t *turn) int {
	t.begin()
	t.out.text(`{"type":"item.started","item":{"id":"item_0","type":"command_execution","command":"/bin/bash -lc 'sleep 1000'","aggregated_output":"","exit_code":null,"status":"in_progress"}}`)
	return t.hang()
}

func lingerAfterCompleted(t *turn) int {
	t.begin()
	t.finish(t.reply())
	return t.hang()
}

func completedThenExit1(t *turn) int {
	t.begin()
	t.finish(t.reply())
	return exitFailed
}

func errorThenOK(t *turn) int {
	t.begin()
	for attempt := 1; attempt <= 2; attempt++ {
		t.out.text(fmt.Sprintf(`{"type":"error","message":"Reconnecting... %d/5 (stream disconnected before completion)"}`, attempt))
	}
	return t.finish(t.reply())
}

func stderrFlood(t *turn) int {
	t.begin()
	if _, err := io.WriteString(t.process.Stderr, Text(t.number("FAKE_CODEX_BYTES", 1<<20))); err != nil {
		return ExitInternal
	}
	return t.finish(t.reply())
}
