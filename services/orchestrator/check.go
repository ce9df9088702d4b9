package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/proctree"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// Verdict is what a check came to.
type Verdict string

// Verdicts.
const (
	Pass Verdict = "ok"
	Warn Verdict = "warning" // it works, but the operator should know
	Fail Verdict = "failed"  // the worker cannot do its work
)

// Finding is what one check says about a configuration, in words for the operator.
type Finding struct {
	Name    string
	Verdict Verdict
	Detail  string
}

// checkTimeout bounds how long Codex may take to say its version.
const checkTimeout = 30 * time.Second

// Check tries out what a worker with this configuration needs, without serving.
// The program must have called proctree.Main first.
func Check(ctx context.Context, c Config) []Finding {
	c, err := c.prepared()
	if err != nil {
		return []Finding{{"configuration", Fail, err.Error()}}
	}
	return append([]Finding{checkStateDir(c), checkSandboxes(c)}, checkCodex(ctx, c)...)
}

func checkStateDir(c Config) Finding {
	dir, err := statedir.Open(c.StateDir)
	var locked *statedir.LockedError
	switch {
	case errors.As(err, &locked):
		return Finding{"state directory", Warn, err.Error()}
	case err != nil:
		return Finding{"state directory", Fail, err.Error()}
	}
	defer dir.Close()
	probe, err := os.CreateTemp(dir.Private(), "probe")
	if err != nil {
		return Finding{"state directory", Fail, err.Error()}
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return Finding{"state directory", Fail, err.Error()}
	}
	return Finding{"state directory", Pass, c.StateDir}
}

func checkSandboxes(c Config) Finding {
	if slices.Contains(c.AllowedSandboxes, "danger-full-access") {
		return Finding{"sandbox", Warn, "danger-full-access is allowed: whoever may send a prompt can read and write everything this user can, " +
			"other sessions' files among it"}
	}
	return Finding{"sandbox", Pass, fmt.Sprintf("allowed: %v; commands of Codex can read every file this user can", c.AllowedSandboxes)}
}

func checkCodex(ctx context.Context, c Config) []Finding {
	supervisor, err := proctree.New(proctree.Options{})
	if err != nil {
		return []Finding{{"process supervision", Fail, err.Error()}}
	}
	defer supervisor.Close()
	containment := Finding{"process supervision", Pass, supervisor.Containment()}
	if supervisor.Containment() == "scan" {
		containment.Verdict = Warn
		containment.Detail = "neither namespaces nor cgroups can be used: what a killed worker leaves behind runs on until its next start"
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	version, err := codex.NewExec(codex.ExecConfig{Bin: c.CodexBin, Env: codex.Environment(c.base(os.TempDir()), c.CodexEnv, nil), Supervisor: supervisor}).Version(ctx)
	switch {
	case err != nil:
		return []Finding{containment, {"codex", Fail, fmt.Sprintf("%s cannot be run: %v", c.CodexBin, err)}}
	case version < codex.TestedVersionMin || version > codex.TestedVersionMax:
		return []Finding{containment, {"codex", Warn, fmt.Sprintf("version %s; tested with %s to %s", version, codex.TestedVersionMin, codex.TestedVersionMax)}}
	}
	return []Finding{containment, {"codex", Pass, "version " + version}}
}
