package telecodex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/telecodex/internal/smoke"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

// In seconds: how long a person has to write a message, and how long all of a
// simulated run may take.
const (
	smokeWait  = "120"
	smokeLimit = "15"
)

// runSmoke runs the live smoke protocol with this program.
func runSmoke(ctx context.Context, given command.Values, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	options, err := smokeOptions(given, env)
	if err == nil {
		options.Program, err = os.Executable()
	}
	if err != nil {
		return refusal.Print(stdout, err)
	}
	options.Version = command.Version("telecodex")
	options.Environ = os.Environ()
	options.Scripted = func(dir string) (string, error) {
		codex, err := scripted(dir, "")
		return codex.bin, err
	}
	options.FindCodex = findCodex
	options.Stdout, options.Stderr = stdout, stderr
	shown := stdout
	if options.JSON {
		shown = stderr
	}
	file, isFile := shown.(*os.File)
	options.Terminal = isFile && term.IsTerminal(int(file.Fd()))
	status, err := smoke.Run(ctx, options)
	if err != nil && ctx.Err() != nil {
		return lifecycle.ExitInterrupted
	}
	if err != nil {
		return refusal.Print(stdout, err)
	}
	return status
}

// findCodex says why a worker with this environment would not find Codex.
func findCodex(getenv func(name string) string) error {
	worker, err := orchestrator.ConfigFrom(nil, getenv)
	if err != nil {
		return err
	}
	return orchestrator.FindCodex(worker)
}

// smokeOptions reads what the command line says.
func smokeOptions(given command.Values, env lifecycle.Lookup) (o smoke.Options, err error) {
	_, simulated := given["--simulated"]
	_, o.Live = given["--live"]
	_, o.JSON = given["--json"]
	if simulated && o.Live {
		return o, errors.New("--simulated and --live exclude each other")
	}
	if !simulated && !o.Live {
		o.Live = env.Getenv("CHANNEL_TOKEN") != "" || env.Getenv("CHANNEL_TOKEN_FILE") != ""
	}
	o.Out = given["--out"]
	if o.Wait, err = smokeSeconds(given, "--wait-s", smokeWait, 1); err != nil {
		return o, err
	}
	if o.Limit, err = smokeSeconds(given, "--limit-s", smokeLimit, 3); err != nil {
		return o, err
	}
	list, set := given["--scenario"]
	if !set {
		list = "all"
	}
	o.Scenarios, err = smokeScenarios(list)
	return o, err
}

// smokeSeconds reads a number of seconds, up to a day.
func smokeSeconds(given command.Values, flag, usual string, least int) (time.Duration, error) {
	text, set := given[flag]
	if !set {
		text = usual
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < least || seconds > 86400 {
		return 0, fmt.Errorf("%s must be an integer between %d and 86400", flag, least)
	}
	return time.Duration(seconds) * time.Second, nil
}

// smokeScenarios reads a list such as "S1,S3", or "all". An empty one is refused:
// who gives one, by a variable that is not set, has not asked for all.
func smokeScenarios(list string) (names []string, err error) {
	if strings.EqualFold(strings.TrimSpace(list), "all") {
		return protocol.Scenarios(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		if !slices.Contains(protocol.Scenarios(), name) {
			return nil, fmt.Errorf("--scenario must be all, or a list of %s", strings.Join(protocol.Scenarios(), ","))
		}
		names = append(names, name)
	}
	return names, nil
}

func smokePage() command.Command {
	return command.Command{
		Name:     "telecodex smoke",
		Summary:  "run, judge and record the live smoke protocol",
		Synopsis: []string{"telecodex smoke [--scenario LIST] [--simulated|--live] [--out DIR] [--wait-s SECONDS] [--limit-s SECONDS] [--json]"},
		Description: "Runs the four scenarios of the smoke protocol TG-LIVE-E2 (docs/SMOKE.md), each cycle as a process of its own, and " +
			"judges every signal that is expected of them. Without a token Telegram is simulated and Codex scripted, and nothing leaves " +
			"the machine. With one it is live: your bot, your Codex, and exactly one allowlisted canary chat, from which you send the " +
			"messages that it asks for. A scenario for which none comes in time is untested, and so is what was not asked for.\n\n" +
			"It keeps each cycle's report and a redacted one, and a document with the evidence table and all checks. A NO-GO names the " +
			"criteria it met and prints the commands that roll back.",
		Flags: []command.Flag{
			{Name: "--scenario", Value: "LIST", Default: "all", Help: "the scenarios to run, comma-separated: S1,S2,S3,S4"},
			{Name: "--simulated", Help: "simulate Telegram and script Codex [what happens without a token]"},
			{Name: "--live", Help: "use the bot of CHANNEL_TOKEN or CHANNEL_TOKEN_FILE [what happens with one]"},
			{Name: "--out", Value: command.Dir, Default: "artifacts/test-logs/tg-live-e2-<date>", Help: "where the run's directory is made"},
			{Name: "--wait-s", Value: "SECONDS", Default: smokeWait, Help: "how long it waits for each message, live"},
			{Name: "--limit-s", Value: "SECONDS", Default: smokeLimit, Help: "how long all of a simulated run may take; what has not ended by then is stopped and failed"},
			{Name: "--json", Help: "print the verdict as one JSON object; progress goes to standard error"},
		},
		Variables: []command.Flag{
			{Variable: "CHANNEL_ALLOWED_CHAT_IDS", Value: "ID", Help: "the canary chat, live; a list of more than one is refused"},
			{Variable: "CANARY_CHAT_ID", Value: "ID", Help: "the same chat once more; another one is refused"},
		},
		Statuses: []command.Entry{
			{Name: "0", Text: "GO: all four scenarios passed, and their redacted evidence is captured."},
			{Name: "1", Text: "NO-GO: a scenario failed."},
			usageStatus(),
			{Name: "3", Text: "CONDITIONAL: none failed, but something is untested or without evidence."},
			interruptedStatus(),
		},
		Files: []command.Entry{{Name: "artifacts/test-logs/tg-live-e2-<date>/tg-live-e2-<UTC>/",
			Text: "The evidence: <scenario>.json, <scenario>.redacted.json, evidence.md."}},
		Examples: []command.Entry{
			{Name: "telecodex smoke --simulated", Text: "All of it, without an account."},
			{Name: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex smoke --live", Text: "With your bot."},
		},
	}
}
