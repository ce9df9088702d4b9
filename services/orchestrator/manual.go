package orchestrator

import (
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/health"
)

// Manual describes the program of cmd/orchestrator.
func Manual() command.Command {
	return command.Command{
		Name:    "orchestrator",
		Summary: "run Codex for gateways",
		Synopsis: []string{"orchestrator [--flag value …]", "orchestrator healthcheck|doctor [--flag value …]",
			"orchestrator drain|export|import [--flag value …]"},
		Description: "A worker: runs Codex as a child process for each turn, makes each line of its output a typed event, " +
			"journals it, and streams it over gRPC. Any number of workers may serve a gateway; each owns its own disk. The " +
			"log goes to standard error.\n\n" +
			"A flag outweighs its variable, and that the default; a variable that is empty means the default.",
		Commands:  []command.Command{health.Page("orchestrator", "ORCHESTRATOR_LISTEN_ADDR", Flags()), doctorPage(), drainPage(), exportPage(), importPage()},
		Flags:     Flags(),
		Variables: Variables(),
		Statuses: []command.Entry{
			{Name: "0", Text: "It was stopped; what ran had ORCHESTRATOR_DRAIN_S to end."},
			{Name: "1", Text: "It could not serve; the log says why."},
			{Name: "2", Text: `The configuration is invalid: {"status":"failed","reason":"invalid-config","error":"…"} on standard output says why.`},
		},
		Files: Files(),
		Examples: []command.Entry{
			{Name: "orchestrator", Text: "Serve the gateways of this machine with the codex of the PATH."},
			{Name: "orchestrator --allowed-sandboxes read-only --max-turns 4", Text: "Let Codex look, not touch, four turns at a time."},
		},
	}
}

// Variables are what a worker reads beside its settings.
func Variables() []command.Flag {
	return []command.Flag{
		{Variable: "PATH", Value: "LIST", Help: "where Codex is looked for; Codex gets it too"},
		{Variable: "LANG", Value: "LOCALE", Help: "Codex gets it too, and of the rest of the environment nothing but what ORCHESTRATOR_CODEX_ENV names"},
		{Variable: "CODEX_HOME", Value: command.Dir, Default: "~/.codex", Help: "where Codex keeps login, configuration and threads, unless ORCHESTRATOR_CODEX_HOME says it"},
	}
}

// Files are what a worker leaves behind, at their defaults.
func Files() []command.Entry {
	return []command.Entry{
		{Name: ".orchestrator/private/", Text: "The journal of turns (SQLite), the worker's id and its lock; hidden from Codex."},
		{Name: ".orchestrator/workspaces/", Text: "Where Codex works, one directory for each session."},
		{Name: ".orchestrator/home/", Text: "Codex's HOME."},
		{Name: "$CODEX_HOME, else ~/.codex/", Text: "Codex's own: its login, its configuration and the threads that can be resumed."},
	}
}
