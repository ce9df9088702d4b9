package telecodex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/orchestrator"
)

// doctor looks whether the bot can run as it is configured. Whoever waits at a
// terminal is told for what.
func doctor(ctx context.Context, given command.Values, env lifecycle.Lookup, stdout, _ io.Writer) int {
	checks, found := examine(ctx, given, env)
	asJSON := given["--json"] != ""
	show := func([]checkup.Finding) error { return nil }
	waiting := func(string) (stop func()) { return func() {} }
	if !asJSON {
		show = func(found []checkup.Finding) error { return checkup.Print(stdout, found) }
		if stdout == os.Stdout && term.IsTerminal(int(os.Stdout.Fd())) {
			waiting = func(name string) (stop func()) { return countUp(stdout, name) }
		}
	}
	err := show(found)
	for _, check := range checks {
		stop := waiting(check.Name)
		more := check.Wait(ctx)
		stop()
		if err == nil {
			err = show(more)
		}
		found = append(found, more...)
	}
	if err == nil && asJSON {
		err = json.NewEncoder(stdout).Encode(diagnosis{Status: checkup.Worst(found), Version: command.Version("telecodex"), Checks: found})
	} else if err == nil {
		err = checkup.PrintSum(stdout, found)
	}
	switch {
	case ctx.Err() != nil:
		return lifecycle.ExitInterrupted
	case err != nil || checkup.Worst(found) == checkup.Fail:
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

// diagnosis is what --json prints, on one line.
type diagnosis struct {
	Status  checkup.Verdict   `json:"status"` // the worst of the checks
	Version string            `json:"version"`
	Checks  []checkup.Finding `json:"checks"`
}

// examine begins every check that the configuration lets begin, and says what is
// found at once.
func examine(ctx context.Context, given command.Values, env lifecycle.Lookup) (checks []*checkup.Check, found []checkup.Finding) {
	found = append(found, checkup.Well("version", "%s", command.Version("telecodex")))
	valid := checkup.Well("configuration", "valid")
	g, gatewayErr := gateway.NewConfig(given, env)
	w, workerErr := orchestrator.ConfigFrom(nil, env.Getenv)
	missing := error(nil)
	if gatewayErr != nil && gatewayErr.Error() == noToken {
		missing = beyondToken(given, env)
	}
	switch err := errors.Join(gatewayErr, missing, workerErr); {
	case gatewayErr != nil && gatewayErr.Error() == noToken:
		valid = checkup.Broken("configuration", strings.ReplaceAll(err.Error(), "\n", "; "),
			"make a bot with @BotFather, and name a file that holds its token in CHANNEL_TOKEN_FILE; `telecodex run --help` explains every setting")
	case err != nil:
		valid = checkup.Broken("configuration", strings.ReplaceAll(err.Error(), "\n", "; "), "`telecodex run --help` explains every setting")
	case len(g.Warnings) > 0:
		valid = checkup.Doubtful("configuration", strings.Join(g.Warnings, "; "), "unset what has no effect")
	}
	found = append(found, valid)
	if names := unknownSettings(os.Environ(), env); len(names) > 0 {
		found = append(found, checkup.Doubtful("unknown variables", strings.Join(names, ", ")+": no setting is called that, so they have no effect",
			"`telecodex run --help` names every setting; correct or unset them"))
	}
	if gatewayErr == nil {
		checks = gateway.Check(ctx, g, given["--poll"] != "")
	}
	embedded := gatewayErr != nil || g.OrchestratorMode == gateway.ModeCodex && g.OrchestratorAddrs == nil
	switch {
	case gatewayErr == nil && g.OrchestratorMode == gateway.ModeDefault:
		found = append(found, checkup.Doubtful("mode", "echo (default): no worker is asked, messages for Codex wait in the store", "CHANNEL_ORCHESTRATOR_MODE=codex ends the rollback"))
	case embedded && workerErr == nil:
		checks = append(checks, orchestrator.Check(ctx, w)...)
		if gatewayErr == nil {
			found = append(found, asked(g, w)...)
			found = append(found, sharedUser(g, w, os.Geteuid()))
		}
	}
	return checks, found
}

// noToken is what a configuration without a token is refused with.
const noToken = "token must be a non-empty string"

// beyondToken is what else is wrong where the token is missing.
func beyondToken(given command.Values, env lifecycle.Lookup) error {
	given = maps.Clone(given)
	delete(given, "--token")
	delete(given, "--token-file")
	_, err := gateway.NewConfig(given, func(name string) (string, bool) {
		switch name {
		case "CHANNEL_TOKEN":
			return telegramsim.DefaultToken, true
		case "CHANNEL_TOKEN_FILE":
			return "", false
		}
		return env(name)
	})
	return err
}

// unknownSettings are the variables that are called like settings, and are none.
func unknownSettings(environ []string, env lifecycle.Lookup) (names []string) {
	known := map[string]bool{"CHANNEL_ENABLE_MEMORY_HOOK": true} // it is warned of
	for _, f := range slices.Concat(gateway.Flags(), orchestrator.Flags()) {
		known[f.Variable] = true
	}
	for _, word := range environ {
		name, _, _ := strings.Cut(word, "=")
		ours := strings.HasPrefix(name, "CHANNEL_") || strings.HasPrefix(name, "ORCHESTRATOR_")
		if _, set := env(name); ours && set && !known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// asked compares what turns ask for with what the worker in the same process
// allows.
func asked(g gateway.Config, w orchestrator.Config) (found []checkup.Finding) {
	if g.SandboxMode != "" && !slices.Contains(w.AllowedSandboxes, g.SandboxMode) {
		found = append(found, checkup.Broken("sandbox mode", fmt.Sprintf("every turn asks for %s and is refused; allowed: %s", g.SandboxMode, strings.Join(w.AllowedSandboxes, ", ")),
			"change CHANNEL_CODEX_SANDBOX_MODE or ORCHESTRATOR_ALLOWED_SANDBOXES"))
	}
	if g.WorkingDir != "" && !slices.ContainsFunc(w.WorkspaceRoots, func(root string) bool { return holdsAny(root, []string{g.WorkingDir}) }) {
		found = append(found, checkup.Broken("working directory", g.WorkingDir+" lies beneath none of the workspace roots: every turn is refused",
			"name a directory above it in ORCHESTRATOR_WORKSPACE_ROOTS"))
	}
	return found
}

// sharedUser says what it means that Codex runs under the gateway's user.
func sharedUser(g gateway.Config, w orchestrator.Config, uid int) checkup.Finding {
	const name = "user"
	if g.Token() == telegramsim.DefaultToken {
		return checkup.Well(name, "Codex runs under the gateway's user, beside a token that is a simulator's")
	}
	detail := "Codex runs under the user that holds the bot token: on Linux each turn is kept from the token file and the state while the containment is namespace, elsewhere and in danger-full-access " +
		"what that user can read is within its reach"
	if uid == 0 {
		detail = "this is root, and so is Codex; and " + detail
	}
	if slices.Contains(w.AllowedSandboxes, "danger-full-access") || uid == 0 || g.TokenFile == "" {
		return checkup.Doubtful(name, detail, "run gateway and orchestrator as two programs under two users, neither of them root; or at least give the token in a file (CHANNEL_TOKEN_FILE)")
	}
	return checkup.Doubtful(name, detail, "where that is not enough, run gateway and orchestrator as two programs under two users")
}

// countUp shows on a terminal what is waited for, until stop wipes it away.
func countUp(w io.Writer, name string) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		started := time.Now()
		for {
			fmt.Fprintf(w, "\r…     %s (%d s)", name, int(time.Since(started).Seconds()))
			select {
			case <-ticker.C:
			case <-ended:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}
