// Package telecodex is the all-in-one: gateway and orchestrator in one process,
// joined by a gRPC connection in memory, for a person with one machine. It is
// also the operator's command line.
package telecodex

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/lifecycle"
)

// command is one of the program's subcommands.
type command struct {
	name, help string
	run        lifecycle.Program
}

func commands() []command {
	return []command{
		{"run", "run the bot (this is what happens without a command)", run},
		{"demo", "try it without a bot: a Telegram simulator and a prompt", demo},
	}
}

// Main is the program of cmd/telecodex. Exit statuses: 0; 1 when a cycle of
// --once failed or the program did; 2 for an invalid command line or
// configuration; 130 when it was interrupted.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && !isHelp(args[0]) {
		return run(ctx, args, env, stdout, stderr)
	}
	if isHelp(args[0]) || args[0] == "help" {
		usage(stdout)
		return lifecycle.ExitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], env, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "telecodex: there is no command %q; `telecodex --help` lists them\n", args[0])
	return lifecycle.ExitUsage
}

func isHelp(word string) bool { return word == "--help" || word == "-h" }

func usage(w io.Writer) {
	fmt.Fprint(w, "Usage: telecodex [command] [flags]\n\nRuns Codex from Telegram: gateway and orchestrator in one process.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-6s %s\n", c.name, c.help)
	}
	fmt.Fprint(w, "\nFlags of run; --ack-policy is also the variable CHANNEL_ACK_POLICY, and so on:\n", gateway.Usage(),
		"\nThe worker is set up by the variables that `orchestrator --help` lists.\n")
}

// scriptedName is the name under which this program plays the scripted Codex of
// the demonstration, as a process of its own.
const scriptedName = "fakecodex"

// Act runs the process as the scripted Codex, when the demonstration started it
// under that name, and then never returns; else it does nothing.
func Act() {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == scriptedName {
		os.Exit(codexsim.Main())
	}
}
