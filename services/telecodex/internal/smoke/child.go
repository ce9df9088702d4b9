package smoke

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

const (
	// maxOutput is far beyond any report.
	maxOutput = 4 << 20
	// maxStderr is how much of the end of standard error is kept.
	maxStderr = 4 << 10
	tenth     = 100 * time.Millisecond
)

// bounds are what a program is given: so long to end by itself, and then so long
// to stop. Its worker drains for a second.
type bounds struct{ limit, grace time.Duration }

// runOnce runs one cycle of the program in a process of its own. When the time
// is over, or ctx ends, it is asked to stop, and after the grace it is killed:
// then whatever it left in its group is, too. The error is of a program that
// could not be started, or ctx's.
func runOnce(ctx context.Context, program string, env environment, b bounds) (o protocol.Observation, stderr string, err error) {
	bounded, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	command := exec.CommandContext(bounded, program, "--once")
	command.Env = env.words()
	stdout, tail := &window{limit: maxOutput}, &window{limit: maxStderr, tail: true}
	command.Stdout, command.Stderr = stdout, tail
	// Ctrl+C reaches the program through us alone: twice would end it at once,
	// and Codex with it.
	ownGroup(command)
	command.Cancel = func() error { return interrupt(command.Process) }
	command.WaitDelay = b.grace
	err = command.Run()
	if command.ProcessState == nil {
		return o, "", fmt.Errorf("start %s: %w", program, err)
	}
	if command.ProcessState.ExitCode() < 0 {
		killGroup(command.Process)
	}
	if ctx.Err() != nil {
		return o, "", ctx.Err()
	}
	o = protocol.Observation{Ran: true, Exit: command.ProcessState.ExitCode(), Stdout: stdout.text.Bytes()}
	switch {
	case bounded.Err() != nil:
		o.Exit, o.Crash = -1, fmt.Sprintf("did not end within %s", b.limit.Round(tenth))
	case o.Exit < 0:
		o.Crash = command.ProcessState.String()
	case errors.Is(err, exec.ErrWaitDelay):
		o.Crash = "left a process behind that holds its output"
	}
	return o, tail.text.String(), nil
}
