package orchestrator

import (
	"context"
	"errors"
	"io"

	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
)

// doctorWord asks what a worker lacks, where it is to run.
const doctorWord = "doctor"

func doctorPage() command.Command {
	return command.Command{
		Name:     "orchestrator " + doctorWord,
		Summary:  "look whether a worker can run as it is configured",
		Synopsis: []string{"orchestrator doctor [--flag value …]"},
		Description: "Takes the flags and variables of the worker, and looks at what they need: the state directory, disks, and Codex: its " +
			"binary, version, login, sandbox and containment. Each line is ok, warn or fail, with what mends it. It changes nothing, and does " +
			"not disturb a worker that runs. `telecodex doctor` looks at the gateway's side too.",
		Flags:     Flags(),
		Variables: Variables(),
		Statuses: []command.Entry{
			{Name: "0", Text: "Nothing failed."},
			{Name: "1", Text: "A check failed: turns will fail like this."},
			{Name: "2", Text: "The command line or configuration is invalid; one line of JSON on standard output says why."},
		},
		Examples: []command.Entry{{Name: "orchestrator doctor", Text: "In a worker's container, before the first turn."}},
	}
}

// runDoctor looks, and prints what was found.
func runDoctor(ctx context.Context, config Config, stdout io.Writer) int {
	found := []checkup.Finding{checkup.Well("version", "%s", command.Version("orchestrator"))}
	for _, check := range Check(ctx, config) {
		found = append(found, check.Wait(ctx)...)
	}
	if err := errors.Join(checkup.Print(stdout, found), checkup.PrintSum(stdout, found)); err != nil || checkup.Worst(found) == checkup.Fail {
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}
