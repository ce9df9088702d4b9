package testreport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"telecodex.dev/services/internal/lifecycle"
)

// patience is how long tests may take to leave after an interrupt.
const patience = 10 * time.Second

// Run runs `go test -json` with args and reports. It is a lifecycle.Program: the
// exit status is 1 when a test failed, when there was none to run, as with a
// misspelt name, or with CI=true when one was skipped that this system could run.
//
// The race detector is on wherever it works. It needs a C compiler; with CI=true
// a missing one is a failure, else it is said.
func Run(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	ci := env.Getenv("CI") == "true"
	race, why := raceDetector(ctx)
	if !race && ci {
		fmt.Fprintf(stderr, "testreport: with CI=true the race detector is required: %s\n", why)
		return lifecycle.ExitFailed
	}
	// Most of what tests do is to wait, so that another package finds the time.
	flags := []string{"test", "-json", fmt.Sprintf("-p=%d", runtime.NumCPU()+1)}
	if race {
		flags = append(flags, "-race")
	}
	summary, err := report(ctx, append(flags, args...), stdout, stderr)
	err = errors.Join(err, summary.Write(stdout))
	if !race {
		fmt.Fprintf(stdout, "Without the race detector: %s.\n", why)
	}
	return status(ctx, summary, err, ci, stderr)
}

func status(ctx context.Context, summary Summary, err error, ci bool, stderr io.Writer) int {
	switch {
	case ctx.Err() != nil:
		return lifecycle.ExitInterrupted
	case summary.Failed > 0:
		return lifecycle.ExitFailed
	case err != nil:
		fmt.Fprintln(stderr, "testreport:", err)
		return lifecycle.ExitFailed
	case summary.Passed+len(summary.Skipped) == 0:
		fmt.Fprintln(stderr, "testreport: no test matches")
		return lifecycle.ExitFailed
	case ci && slices.ContainsFunc(summary.Skipped, func(s Skip) bool { return !s.inapplicable(runtime.GOOS) }):
		fmt.Fprintln(stderr, "testreport: with CI=true a skipped test is a failure")
		return lifecycle.ExitFailed
	default:
		return lifecycle.ExitOK
	}
}

// report runs the go command. Its process group stays the terminal's, so that
// Ctrl+C reaches the tests too.
func report(ctx context.Context, args []string, stdout, stderr io.Writer) (Summary, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Stderr = stderr
	command.Env = leavingAtOnce(os.Environ())
	command.WaitDelay = patience
	if runtime.GOOS != "windows" { // where a process cannot be interrupted
		command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	}
	events, err := command.StdoutPipe()
	if err != nil {
		return Summary{}, err
	}
	if err := command.Start(); err != nil {
		return Summary{}, err
	}
	summary, err := Read(events, stdout)
	return summary, errors.Join(err, command.Wait())
}

// leavingAtOnce has programs with the race detector end when they are done. By
// default each waits for a second, for goroutines that it leaves behind: there are
// hundreds of such programs in a run, and goleak proves that there are no such
// goroutines. What the caller has set holds.
func leavingAtOnce(env []string) []string {
	const name = "GORACE="
	options := "atexit_sleep_ms=0"
	for _, word := range env {
		if set, ok := strings.CutPrefix(word, name); ok {
			options += " " + set
		}
	}
	return append(slices.Clone(env), name+options) // the last one counts
}

// raceDetector reports whether the race detector can be used here, and if not,
// why.
func raceDetector(ctx context.Context) (works bool, why string) {
	system := runtime.GOOS + "/" + runtime.GOARCH
	supported := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}
	if !slices.Contains(supported, system) {
		return false, "it does not know " + system
	}
	compiler, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return false, "go env CC failed"
	}
	// CC may hold arguments.
	words := strings.Fields(string(compiler))
	if len(words) == 0 {
		return false, "there is no C compiler"
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return false, "there is no C compiler (" + words[0] + ")"
	}
	return true, ""
}
