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

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/refusal"
)

// Main is the program of cmd/telecodex. Exit statuses: 0; 1 when a cycle of
// --once failed or the program did; 2 for an invalid command line or
// configuration; 130 when it was interrupted.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	page, args, err := manual().Select(args)
	var given command.Values
	if err == nil {
		given, err = page.Parse(args)
	}
	if text := page.Asked(err); text != "" {
		return lifecycle.Print(stdout, text)
	}
	for _, c := range commands() {
		if err == nil && c.word == page.Word() {
			return c.run(ctx, given, env, stdout, stderr)
		}
	}
	return refusal.Print(stdout, err)
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
