// Package telecodex is the all-in-one: gateway and orchestrator in one process,
// joined by a gRPC connection in memory, for a person with one machine. It is
// also the operator's command line.
package telecodex

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
)

// Main is the program of cmd/telecodex. Exit statuses: 0; 1 when a cycle of
// --once failed or the program did; 2 for an invalid command line or
// configuration; 130 when it was interrupted.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	program := manual()
	word := program.Otherwise
	switch {
	case len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h"):
		return help(args[1:], stdout)
	case len(args) > 0 && args[0] == "--version":
		return lifecycle.Print(stdout, program.Asked(command.ErrVersion))
	case len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		word, args = args[0], args[1:]
	}
	for _, c := range commands() {
		if c.word != word {
			continue
		}
		given, err := c.page.Parse(args)
		if text := c.page.Asked(err); text != "" {
			return lifecycle.Print(stdout, text)
		}
		if err != nil {
			return gateway.Refuse(stdout, err)
		}
		return c.run(ctx, given, env, stdout, stderr)
	}
	return gateway.Refuse(stdout, command.Unknown(word))
}

// help shows the page of the program, or of one of its commands.
func help(args []string, stdout io.Writer) int {
	program := manual()
	switch {
	case len(args) == 0:
		return lifecycle.Print(stdout, program.Page())
	case len(args) > 1:
		return gateway.Refuse(stdout, command.Unknown(args[1]))
	}
	page, known := program.Find(args[0])
	if !known {
		return gateway.Refuse(stdout, command.Unknown(args[0]))
	}
	return lifecycle.Print(stdout, page.Page())
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
