package codexsim

import (
	"fmt"
	"slices"
	"strings"
)

// absent is how an expectation says that a flag must be missing.
const absent = "<absent>"

// invocation is what the arguments ask for.
type invocation struct {
	version   bool
	login     bool     // login status
	sandboxed []string // the command of codex sandbox
	json      bool
	skipGit   bool
	approval  string // absent when not given
	sandbox   string // absent when not given
	dir       string
	resume    bool
	sessionID string
	prompt    string // "-" when it comes from stdin
}

// level is one of the command levels `codex`, `codex exec`, `codex exec resume`:
// each knows its own flags, and a flag of another level is refused.
type level struct {
	usage  string
	values []string // flags with a value
	bools  []string
}

var (
	rootLevel = level{
		usage: "codex [OPTIONS] [PROMPT]\n       codex [OPTIONS] <COMMAND> [ARGS]",
		values: []string{"-c", "--config", "--enable", "--disable", "-i", "--image", "-m", "--model", "-p", "--profile",
			"-s", "--sandbox", "-C", "--cd", "--add-dir", "-a", "--ask-for-approval"},
		bools: []string{"--dangerously-bypass-approvals-and-sandbox", "--search", "-V", "--version"},
	}
	execLevel = level{
		usage: "codex exec [OPTIONS] [PROMPT]\n       codex exec [OPTIONS] <COMMAND> [ARGS]",
		values: []string{"-c", "--config", "--enable", "--disable", "-i", "--image", "-m", "--model", "-p", "--profile",
			"-s", "--sandbox", "-C", "--cd", "--add-dir", "--output-schema", "--color", "-o", "--output-last-message"},
		bools: []string{"--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--ephemeral", "--json", "-V", "--version"},
	}
	resumeLevel = level{
		usage: "codex exec resume [OPTIONS] [SESSION_ID] [PROMPT]",
		values: []string{"-c", "--config", "--enable", "--disable", "-i", "--image", "-m", "--model",
			"--output-schema", "-o", "--output-last-message"},
		bools: []string{"--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--ephemeral", "--json", "--last", "--all"},
	}
)

// usageError is an argument that Codex refuses with status 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// parseArgs reads the arguments as Codex 0.169.0 does.
func parseArgs(args []string) (invocation, error) {
	inv := invocation{approval: absent, sandbox: absent}
	if at := slices.Index(args, "--"); at > 0 && at+1 < len(args) && args[0] == "sandbox" {
		inv.sandboxed = args[at+1:]
		return inv, nil
	}
	rest, err := inv.flags(rootLevel, args)
	if err != nil || inv.version {
		return inv, err
	}
	if strings.Join(rest, " ") == "login status" {
		inv.login = true
		return inv, nil
	}
	if len(rest) == 0 || rest[0] != "exec" {
		return inv, &usageError{"error: only `codex exec` is simulated"}
	}
	if rest, err = inv.flags(execLevel, rest[1:]); err != nil || inv.version {
		return inv, err
	}
	if len(rest) > 0 && rest[0] == "resume" {
		inv.resume = true
		if rest, err = inv.flags(resumeLevel, rest[1:]); err != nil {
			return inv, err
		}
		if len(rest) > 0 {
			inv.sessionID, rest = rest[0], rest[1:]
		}
	}
	if inv.prompt, err = inv.promptArg(rest); err != nil {
		return inv, err
	}
	return inv, nil
}

// flags consumes the flags of a level. It stops before the first word that may
// be a subcommand; at the deepest level the words and flags may be mixed.
func (inv *invocation) flags(l level, args []string) (words []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			words = append(words, arg)
			if arg == "exec" || arg == "resume" {
				return append(words, args...), nil
			}
			continue
		}
		name, value, joined := strings.Cut(arg, "=")
		switch {
		case slices.Contains(l.bools, name) && !joined:
			inv.set(name, "")
		case slices.Contains(l.values, name):
			if !joined {
				if len(args) == 0 {
					return nil, &usageError{fmt.Sprintf("error: a value is required for '%s' but none was supplied", name)}
				}
				value, args = args[0], args[1:]
			}
			inv.set(name, value)
		default:
			return nil, &usageError{fmt.Sprintf("error: unexpected argument '%s' found\n\nUsage: %s", name, l.usage)}
		}
	}
	return words, inv.checkValues()
}

func (inv *invocation) set(name, value string) {
	switch name {
	case "-V", "--version":
		inv.version = true
	case "--json":
		inv.json = true
	case "--skip-git-repo-check":
		inv.skipGit = true
	case "-a", "--ask-for-approval":
		inv.approval = value
	case "-s", "--sandbox":
		inv.sandbox = value
	case "-C", "--cd":
		inv.dir = value
	}
}

func (inv *invocation) checkValues() error {
	if approvals := []string{absent, "on-request", "never"}; !slices.Contains(approvals, inv.approval) {
		return invalidValue("--ask-for-approval <APPROVAL_POLICY>", inv.approval, approvals[1:])
	}
	if modes := []string{absent, "read-only", "workspace-write", "danger-full-access"}; !slices.Contains(modes, inv.sandbox) {
		return invalidValue("--sandbox <SANDBOX_MODE>", inv.sandbox, modes[1:])
	}
	return nil
}

func invalidValue(flag, value string, possible []string) error {
	return &usageError{fmt.Sprintf("error: invalid value '%s' for '%s'\n  [possible values: %s]", value, flag, strings.Join(possible, ", "))}
}

func (inv *invocation) promptArg(words []string) (string, error) {
	switch len(words) {
	case 0:
		return "-", nil
	case 1:
		return words[0], nil
	default:
		return "", &usageError{fmt.Sprintf("error: unexpected argument '%s' found", words[1])}
	}
}

// unexpected compares the arguments with what the test expects and describes
// the first difference, empty when there is none.
func (inv *invocation) unexpected(getenv func(string) string) string {
	sandbox := valueOr(getenv("FAKE_CODEX_EXPECT_SANDBOX"), "workspace-write")
	approval := valueOr(getenv("FAKE_CODEX_EXPECT_APPROVAL"), "never")
	switch {
	case inv.sandbox != sandbox:
		return fmt.Sprintf("--sandbox is %s, expected %s", inv.sandbox, sandbox)
	case inv.approval != approval:
		return fmt.Sprintf("--ask-for-approval is %s, expected %s", inv.approval, approval)
	case !inv.json:
		return "--json is missing"
	default:
		return ""
	}
}

func valueOr(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
