package telecodex

import (
	"context"
	"io"
	"slices"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/orchestrator"
)

// subcommand is one of the program's commands: what its page says, and what it
// does with the flags it was given.
type subcommand struct {
	word string
	page command.Command
	run  func(ctx context.Context, given command.Values, env lifecycle.Lookup, stdout, stderr io.Writer) int
}

// commands are the program's. A new one is a line here, and its page below.
func commands() []subcommand {
	return []subcommand{
		{"run", runPage(), run},
		{"demo", demoPage(), demo},
		{"smoke", smokePage(), runSmoke},
		{"doctor", doctorPage(), doctor},
		{"completion", completionPage(), completion},
	}
}

// manual describes the program.
func manual() command.Command {
	m := command.Command{
		Name:     "telecodex",
		Summary:  "run the Codex coding agent from Telegram",
		Synopsis: []string{"telecodex [command] [--flag value …]", "telecodex help [command]"},
		Description: "Gateway and orchestrator in one process, for one machine; and the operator's commands. Without a command it " +
			"is run, and takes its flags.\n\n" +
			"Codex runs under the same user as the gateway. Where that matters, run gateway and orchestrator as two programs, " +
			"under two users.",
		Otherwise: "run",
		Statuses:  gateway.Statuses(),
		Files:     slices.Concat(gateway.Files(), orchestrator.Files()),
		Examples: []command.Entry{
			{Name: "telecodex demo", Text: "Try it without a bot."},
			{Name: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex", Text: "Serve one chat."},
		},
	}
	for _, c := range commands() {
		m.Commands = append(m.Commands, c.page)
	}
	return m
}

// variables are what is read beside the flags: the settings of the worker in this
// process, which have no flags here, and what both services read.
func variables() (flags []command.Flag) {
	for _, f := range orchestrator.Flags() {
		switch f.Variable {
		case "ORCHESTRATOR_LISTEN_ADDR", "ORCHESTRATOR_LOG_LEVEL": // in memory; the gateway's
		default:
			f.Name = ""
			flags = append(flags, f)
		}
	}
	return slices.Concat(flags, gateway.Variables(), orchestrator.Variables())
}

func runPage() command.Command {
	return command.Command{
		Name:     "telecodex run",
		Summary:  "run the bot (this is what happens without a command)",
		Synopsis: []string{"telecodex [run] [--flag value …]"},
		Description: "Serves a Telegram bot, with Codex on this machine. With CHANNEL_ORCHESTRATOR_ADDR it uses those workers and has " +
			"none of its own. Standard output carries one report of a cycle a line, as JSON; the log goes to standard error.\n\n" +
			"A flag outweighs its variable, and that the default. Booleans are words of their own: --live-mode true.",
		Flags:     gateway.Flags(),
		Variables: variables(),
		Statuses:  gateway.Statuses(),
		Files:     slices.Concat(gateway.Files(), orchestrator.Files()),
		Examples: []command.Entry{
			{Name: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex run", Text: "Serve one chat."},
			{Name: "telecodex run --once", Text: "One cycle: poll, answer, report, exit."},
		},
	}
}

func demoPage() command.Command {
	return command.Command{
		Name:     "telecodex demo",
		Summary:  "try it without a bot: a Telegram simulator and a prompt",
		Synopsis: []string{"telecodex demo [--message TEXT]"},
		Description: "Starts a Telegram simulator and both services in a temporary directory. At a terminal you talk to the bot; elsewhere " +
			"one message makes the round trip. Codex is yours where it is installed and logged in, else a scripted one; it says " +
			"which.",
		Flags:    []command.Flag{{Name: "--message", Value: "TEXT", Help: "send this one message, show the round trip and exit"}},
		Statuses: []command.Entry{{Name: "0", Text: "The answers came."}, {Name: "1", Text: "Something failed; standard error says what."}, usageStatus(), interruptedStatus()},
		Examples: []command.Entry{{Name: `telecodex demo --message "What is 6 times 7?"`, Text: "One round trip."}},
	}
}

func doctorPage() command.Command {
	flags := []command.Flag{
		{Name: "--json", Help: "print one line of JSON: status, version, checks with name, verdict, detail and mend"},
		{Name: "--poll", Help: "make sure that nobody else polls the bot, by a poll that confirms nothing but ends another's once"},
	}
	return command.Command{
		Name:     "telecodex doctor",
		Summary:  "look whether the bot can run as it is configured",
		Synopsis: []string{"telecodex doctor [--json] [--poll] [--flag value …]"},
		Description: "Takes the flags and variables of run, and looks at what they need: the token, a webhook or another poller in the way, the " +
			"allowlist, store and cursor, disks, the clock, and Codex: its binary, version, login, sandbox and containment. With " +
			"CHANNEL_ORCHESTRATOR_ADDR those workers are asked instead. Each line is ok, warn or fail, with what mends it.\n\n" +
			"It changes nothing, prints no secret and does not disturb a bot that runs: what is in use is only looked at.",
		Flags:     append(flags, gateway.Flags()...),
		Variables: variables(),
		Statuses: []command.Entry{{Name: "0", Text: "Nothing failed."}, {Name: "1", Text: "A check failed: the bot cannot run like this."},
			{Name: "2", Text: "The command line is invalid; one line of JSON on standard output says why."}, interruptedStatus()},
		Examples: []command.Entry{
			{Name: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex doctor", Text: "Before the first start."},
			{Name: "telecodex doctor --json", Text: "For a machine."},
		},
	}
}

func completionPage() command.Command {
	return command.Command{
		Name:        "telecodex completion",
		Summary:     "print a completion script for a shell",
		Synopsis:    []string{"telecodex completion bash|zsh|fish"},
		Description: "Prints a script that lets the shell complete the command lines of telecodex, gateway and orchestrator.",
		Argument:    command.Argument{Name: "SHELL", Words: command.Shells()},
		Statuses:    []command.Entry{{Name: "0", Text: "It was printed."}, usageStatus()},
		Examples: []command.Entry{
			{Name: "source <(telecodex completion bash)", Text: "For this bash; in ~/.bashrc, for all."},
			{Name: "source <(telecodex completion zsh)", Text: "The same for zsh, after compinit."},
			{Name: "telecodex completion fish | source", Text: "The same for fish."},
		},
	}
}

func usageStatus() command.Entry {
	return command.Entry{Name: "2", Text: "The command line or configuration is invalid; one line of JSON on standard output says why."}
}

func interruptedStatus() command.Entry {
	return command.Entry{Name: "130", Text: "It was interrupted (Ctrl+C)."}
}

// completion prints what a shell has to know of the programs.
func completion(_ context.Context, given command.Values, _ lifecycle.Lookup, stdout, _ io.Writer) int {
	return lifecycle.Print(stdout, command.Completion(given["SHELL"], []command.Command{manual(), gateway.Manual(), orchestrator.Manual()}))
}
