package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/proctree"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// Limits of the checks.
const (
	diskLimit  = 10 * time.Second
	codexLimit = 45 * time.Second // all that Codex is asked
	askLimit   = 15 * time.Second // each of it
)

// danger is the sandbox mode that is none.
const danger = "danger-full-access"

// Check looks whether what a worker with this configuration needs is there: its
// directories, Codex, a login, a sandbox, and something to contain Codex with. It
// serves nothing, leaves nothing behind, and only looks at the directory of a
// worker that runs. The program must have called Contain first.
func Check(ctx context.Context, c Config) []*checkup.Check {
	prepared, err := c.prepared()
	if err != nil {
		return []*checkup.Check{checkup.Start(ctx, "worker", time.Second, func(context.Context) []checkup.Finding {
			return []checkup.Finding{checkup.Broken("worker", err.Error(), "look at ORCHESTRATOR_WORKSPACE_ROOTS and the other directories")}
		})}
	}
	return []*checkup.Check{
		checkup.Start(ctx, "codex", codexLimit, prepared.checkCodex),
		checkup.Start(ctx, "tls", time.Second, func(context.Context) []checkup.Finding {
			return prepared.Access.Examine(cmp.Or(prepared.ListenAddr, prepared.MetricsAddr), time.Now())
		}),
		checkup.Start(ctx, "state directory", diskLimit, prepared.checkDirectories),
	}
}

// FindCodex says why the Codex that turns would start is not there; nil: it is.
// The error is for an operator.
func FindCodex(c Config) error {
	if _, err := codex.ResolveNative(c.CodexBin); err != nil {
		f := c.notFound(err)
		return fmt.Errorf("%s: %s", f.Detail, f.Mend)
	}
	return nil
}

func (c Config) checkDirectories(ctx context.Context) []checkup.Finding {
	if c.StateSlotsDir != "" {
		return checkup.Directory("state slots", c.StateSlotsDir, false, "choose another ORCHESTRATOR_STATE_SLOTS_DIR")
	}
	const mend = "choose another ORCHESTRATOR_STATE_DIR"
	used, err := statedir.InUse(c.StateDir)
	if err != nil {
		return []checkup.Finding{checkup.Broken("state directory", err.Error(), "let this user write there, or "+mend)}
	}
	found := checkup.Directory("state directory", filepath.Join(c.StateDir, "private"), used, mend)
	if used && found[0].Verdict == checkup.OK {
		found[0].Detail = c.StateDir + ": a worker that runs here uses it, so it was only looked at"
	}
	if found[0].Verdict != checkup.Fail {
		found[0] = c.checkJournal(ctx, found[0])
	}
	workspace := checkup.Directory("workspace", c.WorkspaceDir, used, "choose another ORCHESTRATOR_WORKSPACE_DIR")
	if filepath.Dir(c.WorkspaceDir) == c.StateDir {
		workspace = workspace[:1] // the same disk
	}
	return append(found, workspace...)
}

// checkJournal looks into the journal of a state directory, about which all else is
// found.
func (c Config) checkJournal(ctx context.Context, found checkup.Finding) checkup.Finding {
	dir, err := statedir.Peek(c.StateDir)
	if err != nil {
		return found // no worker has used it
	}
	whole, err := journal.Look(ctx, dir.Journal())
	switch {
	case errors.As(err, new(*sqldb.SchemaError)):
		return checkup.Broken(found.Name, dir.Journal()+": "+err.Error(), "run the newer version, or restore the backup from before it")
	case sqldb.KindOf(err) == sqldb.Corrupt:
		return checkup.Doubtful(found.Name, dir.Journal()+" is damaged: at its next start the worker sets it aside and begins a new one; what ran is interrupted, and people are asked",
			"look after the disk")
	case err != nil:
		return checkup.Broken(found.Name, dir.Journal()+": "+err.Error(), "let this user have it, or choose another ORCHESTRATOR_STATE_DIR")
	case !whole:
		found.Detail += "; not all of its journal was looked at"
	}
	return found
}

// checkCodex asks Codex as a turn would: the same binary, environment and
// containment.
func (c Config) checkCodex(ctx context.Context) []checkup.Finding {
	native, err := codex.ResolveNative(c.CodexBin)
	if err != nil {
		return []checkup.Finding{c.notFound(err)}
	}
	dir, err := os.MkdirTemp("", "telecodex-doctor-")
	if err != nil {
		return []checkup.Finding{checkup.Broken("codex", err.Error(), "let this user write to the directory for temporary files")}
	}
	defer os.RemoveAll(dir) // it is empty, or the system's to clean
	supervisor, err := proctree.New(proctree.Options{})
	if err != nil {
		return []checkup.Finding{checkup.Broken("containment", err.Error(), "the worker cannot start processes")}
	}
	defer supervisor.Close() // nothing runs any more
	base, home := c.checkHome(dir)
	engine := codex.NewExec(codex.ExecConfig{Bin: c.CodexBin, Env: codex.Environment(base, c.CodexEnv, nil), Supervisor: supervisor})
	found := checkup.Well("codex", "%s", native)
	if codex.IsScript(native) {
		binary := "the native binary"
		if other, err := codex.ResolveNative("codex"); err == nil && !codex.IsScript(other) {
			binary = other
		}
		found = checkup.Doubtful("codex", native+" is a script", "name "+binary+" in ORCHESTRATOR_CODEX_BIN: to stop the script need not stop what it has started")
	}
	first := append([]checkup.Finding{found}, home...)
	asked := []func(context.Context) checkup.Finding{
		func(ctx context.Context) checkup.Finding { return checkVersion(ctx, engine) },
		func(ctx context.Context) checkup.Finding { return c.checkLogin(ctx, engine) },
	}
	modes := slices.DeleteFunc(slices.Clone(c.AllowedSandboxes), func(mode string) bool { return mode == danger })
	for _, mode := range modes {
		asked = append(asked, func(ctx context.Context) checkup.Finding { return checkSandbox(ctx, engine, mode, dir) })
	}
	return slices.Concat(first, sideBySide(ctx, asked),
		[]checkup.Finding{c.checkAllowed(), checkup.Containment("containment", supervisor.Containment())})
}

// checkHome looks for CODEX_HOME, and returns what Codex is asked with. A worker with
// slots makes one that is missing when it starts: until then an empty one beneath dir
// stands for it.
func (c Config) checkHome(dir string) (codex.Base, []checkup.Finding) {
	const name = "codex home"
	base := c.base(dir)
	if c.CodexHome == "" {
		return base, nil
	}
	if _, err := os.Stat(c.CodexHome); c.StateSlotsDir != "" && errors.Is(err, fs.ErrNotExist) {
		base.CodexHome = filepath.Join(dir, "codex")
		if err := os.Mkdir(base.CodexHome, 0o700); err != nil {
			return base, []checkup.Finding{checkup.Broken(name, err.Error(), "let this user write to the directory for temporary files")}
		}
		return base, checkup.Directory(name, c.CodexHome, false, "name another in ORCHESTRATOR_CODEX_HOME")[:1]
	}
	return base, []checkup.Finding{checkup.Present(name, c.CodexHome,
		"without it every turn fails: `codex login` as this user makes it; or make it with mode 700, or name another in ORCHESTRATOR_CODEX_HOME")}
}

// sideBySide asks all at once, each for at most askLimit.
func sideBySide(ctx context.Context, asked []func(context.Context) checkup.Finding) []checkup.Finding {
	found := make([]checkup.Finding, len(asked))
	var all sync.WaitGroup
	for i, ask := range asked {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askLimit)
			defer cancel()
			found[i] = ask(ctx)
		})
	}
	all.Wait()
	return found
}

func (c Config) notFound(err error) checkup.Finding {
	if errors.Is(err, codex.ErrNoNative) {
		return checkup.Broken("codex", err.Error(), "npm install -g @openai/codex")
	}
	if info, failed := os.Stat(c.CodexBin); errors.Is(err, fs.ErrPermission) && failed == nil && info.Mode().IsRegular() {
		return checkup.Broken("codex", c.CodexBin+" may not be executed", "chmod +x "+c.CodexBin)
	}
	return checkup.Broken("codex", fmt.Sprintf("%s cannot be found or executed", c.CodexBin), "npm install -g @openai/codex, or name it in ORCHESTRATOR_CODEX_BIN")
}

func checkVersion(ctx context.Context, engine *codex.Exec) checkup.Finding {
	const name = "codex version"
	version, err := engine.Version(ctx)
	switch {
	case errors.Is(err, codex.ErrVersion):
		return checkup.Broken(name, "what was started does not call itself Codex", "look at ORCHESTRATOR_CODEX_BIN")
	case err != nil:
		return notRun(name, err)
	}
	return checkup.CodexVersion(name, version, codex.TestedVersionMin, codex.TestedVersionMax)
}

// notRun is a finding about a Codex that could not be asked. The error's own text
// is for anyone; what it wraps is left out.
func notRun(name string, err error) checkup.Finding {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", askLimit)
	}
	return checkup.Broken(name, err.Error(), "run `codex --version` as this user, and mend what it says")
}

// ownProvider finds a provider that the configuration of Codex chooses.
var ownProvider = regexp.MustCompile(`(?m)^\s*model_provider\s*=`)

func (c Config) checkLogin(ctx context.Context, engine *codex.Exec) checkup.Finding {
	const name = "login"
	in, err := engine.LoggedIn(ctx)
	switch {
	case err != nil:
		return notRun(name, err)
	case in:
		return checkup.Well(name, "Codex is logged in (CODEX_HOME %s)", c.CodexHome)
	case c.CodexEnv["CODEX_API_KEY"] != "":
		return checkup.Well(name, "by CODEX_API_KEY; whether it is accepted, the first turn shows")
	}
	if text, err := os.ReadFile(filepath.Join(c.CodexHome, "config.toml")); err == nil && ownProvider.Match(text) {
		return checkup.Doubtful(name, "not logged in, but "+filepath.Join(c.CodexHome, "config.toml")+" chooses a provider, whose key cannot be tried here",
			"see that ORCHESTRATOR_CODEX_ENV names the variable with its key")
	}
	return checkup.Broken(name, "Codex is not logged in (CODEX_HOME "+c.CodexHome+")",
		"run `codex login` as this user, or hand on a key: ORCHESTRATOR_CODEX_ENV=CODEX_API_KEY")
}

// checkSandbox has Codex run a command, as each turn with commands does: where
// that fails, turns end well and every command in them fails.
func checkSandbox(ctx context.Context, engine *codex.Exec, mode, dir string) checkup.Finding {
	name := "sandbox " + mode
	can, err := engine.CanSandbox(ctx, mode, dir)
	switch {
	case err != nil:
		return notRun(name, err)
	case !can:
		return checkup.Broken(name, "Codex cannot run a command in it here: no command of a turn will work",
			"let it make namespaces (in Docker: security_opt seccomp=unconfined and, with AppArmor, apparmor=unconfined; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0); or, where a "+
				"container of its own is the sandbox, set ORCHESTRATOR_ALLOWED_SANDBOXES and CHANNEL_CODEX_SANDBOX_MODE to "+danger)
	}
	return checkup.Well(name, "a command ran in it")
}

func (c Config) checkAllowed() checkup.Finding {
	const name = "sandboxes"
	allowed := strings.Join(c.AllowedSandboxes, ", ")
	if slices.Contains(c.AllowedSandboxes, danger) {
		return checkup.Doubtful(name, "allowed: "+allowed+": whoever may send a prompt can read and write all that this user can, other sessions' files among it",
			"leave "+danger+" out of ORCHESTRATOR_ALLOWED_SANDBOXES, unless a container of its own is the sandbox")
	}
	return checkup.Well(name, "allowed: %s; in each of them Codex can read what this user can", allowed)
}
