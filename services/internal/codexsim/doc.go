// Package codexsim is a scripted Codex CLI: a real process that takes the
// arguments, environment and standard input of `codex exec --json` and answers
// with the events of a scenario. It exists so that everything around Codex can
// be tested, benchmarked and demonstrated without an account, a network or a
// Codex installation. It is as strict as Codex 0.169.0 about what it is given,
// and stricter where a caller's mistake would otherwise go unnoticed.
//
// The scenario is named by FAKE_CODEX_SCENARIO (unset: echo; unknown: exit 2):
//
//	scenario                       what it does
//	echo                           a whole conversation: "You said: <prompt>"; a prompt that begins with "recall"
//	                               lists the earlier prompts of the thread
//	live_two_events_long_delay     thread.started, 500 ms of silence, turn.completed
//	emit_normalize_error_with_rawline_secret
//	                               a line that is not JSON and a thread.started without thread_id, both holding
//	                               RawLineSecret, then turn.completed
//	dump_env_then_exit             writes its environment as NAME=value lines sorted by name to the path in
//	                               CODEX_WRAPPER_TEST_DUMP_ENV (parents are created), then thread.started, turn.completed
//	slow                           echo with FAKE_CODEX_DELAY ms (1000) before every event
//	turn_1s                        echo with one second before the answer
//	huge_line                      answers with Text(FAKE_CODEX_BYTES) (5000000) in one line
//	over_line                      a line of FAKE_CODEX_BYTES (16 MiB + 1), then an answer
//	hang                           nothing after turn.started
//	hang_no_output                 nothing at all
//	crash                          exit 3 in the middle of a command; stderr holds StderrSecret
//	exit0_empty                    exit 0 before any event
//	exit1_empty                    exit 1 before any event; FAKE_CODEX_MESSAGE on stderr
//	turn_failed                    turn.failed with FAKE_CODEX_MESSAGE ("exceeded retry limit, last status: 429 Too
//	                               Many Requests"), exit 1
//	garbage                        lines that are no events, holding RawLineSecret, around a good answer
//	nul_invalid_utf8               NULs, invalid UTF-8 and lone surrogates, raw and escaped, around a good answer
//	close_stdout_and_hang          closes stdout after turn.started and stays
//	ignore_sigint                  hang, deaf to SIGINT
//	grandchild                     leaves a detached process that ignores signals and holds stdout open; its pid goes
//	                               to FAKE_CODEX_PID_FILE (see Grandchild); answers after FAKE_CODEX_DELAY ms (0)
//	command_in_progress_hang       item.started of a command, then nothing
//	all_items                      every event but turn.failed and every item type of Codex, unknown types, aliases
//	flood                          FAKE_CODEX_EVENTS (10000) agent messages in lines of FAKE_CODEX_BYTES (256) at full speed
//	paced                          FAKE_CODEX_EVENTS (1000) agent messages at FAKE_CODEX_RATE (100) a second; the text of
//	                               each is the time of its writing in Unix nanoseconds
//	linger_after_completed         turn.completed, then it does not leave
//	completed_then_exit1           turn.completed, then exit 1
//	error_then_ok                  two "Reconnecting" errors, then an answer
//	other_thread                   echo, in a new thread even when asked to resume one
//	stderr_flood                   FAKE_CODEX_BYTES (1 MiB) on stderr before the answer
//
// With FAKE_CODEX_PROMPT_SCENARIOS=1 a prompt may choose for itself: a first
// line `!scenario NAME [FAKE_CODEX_X=value …]` names the scenario and overrides
// its variables; the rest is the prompt.
//
// Further variables: FAKE_CODEX_EXPECT_SANDBOX (workspace-write) and
// FAKE_CODEX_EXPECT_APPROVAL (never) are what --sandbox and --ask-for-approval
// must say, `<absent>` that the flag must be missing; FAKE_CODEX_STDIN_TIMEOUT
// is how many ms (10000) stdin may stay open; FAKE_CODEX_LOG names a file to
// which every start and end is appended, see LogEntry. Threads are remembered in
// $CODEX_HOME/sessions (CODEX_HOME defaults to $HOME/.codex).
//
// `codex login status` and `codex sandbox` are there too; FAKE_CODEX_LOGIN=no is
// an account that is not logged in, FAKE_CODEX_SANDBOX=no a machine on which
// Codex cannot make its sandbox, FAKE_CODEX_VERSION what --version prints.
//
// Exit statuses: 0; 1 and 2 as Codex; 101 when stdout was closed by the reader,
// as Codex; ExitUnexpectedArgs, ExitStdinOpen and ExitInternal.
package codexsim

// Sentinels that must never be seen outside of the worker.
const (
	// RawLineSecret stands in every line that is no event.
	RawLineSecret = "RAWLINE_SECRET_DO_NOT_LEAK"
	// StderrSecret stands in what the crash scenario writes to stderr.
	StderrSecret = "STDERR_SECRET_DO_NOT_LEAK"
)

// Exit statuses that Codex does not use.
const (
	// ExitUnexpectedArgs says that the arguments are not those expected.
	ExitUnexpectedArgs = 64
	// ExitStdinOpen says that stdin did not reach its end in time.
	ExitStdinOpen = 65
	// ExitInternal says that a file of the stand-in itself could not be used.
	ExitInternal = 70
)

const (
	exitFailed       = 1
	exitUsage        = 2
	exitStdoutClosed = 101
)

// Version is what --version prints.
const Version = "codex-cli 0.169.0"
