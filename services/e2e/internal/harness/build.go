// Package harness builds the project's programs and runs them as the processes
// they are, for tests that look at them from outside only: through their ports,
// their output and their files.
package harness

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

// contain is looked for by orchestrator and telecodex beside themselves.
const contain = "telecodex-contain"

// Programs are built programs in one directory.
type Programs struct{ dir string }

// Build compiles the named programs (gateway, orchestrator, telecodex, fakecodex,
// faketelegram) into dir, and with a worker what it starts Codex through. In a
// test binary with the race detector they have it too, but for the stand-ins,
// whose start-up time is part of what is measured.
func Build(ctx context.Context, dir string, names ...string) (Programs, error) {
	var flags []string
	if raceEnabled {
		flags = []string{"-race"}
	}
	return BuildWith(ctx, dir, flags, names...)
}

// BuildWith is Build with flags of `go build` of the caller's, -race only where it
// is among them.
func BuildWith(ctx context.Context, dir string, flags []string, names ...string) (Programs, error) {
	packages := map[string]string{
		"gateway":      "telecodex.dev/services/gateway/cmd/gateway",
		"orchestrator": "telecodex.dev/services/orchestrator/cmd/orchestrator",
		"telecodex":    "telecodex.dev/services/telecodex/cmd/telecodex",
		"fakecodex":    "telecodex.dev/services/internal/codexsim/cmd/fakecodex",
		"faketelegram": "telecodex.dev/services/internal/telegramsim/cmd/faketelegram",
		contain:        "telecodex.dev/services/orchestrator/cmd/telecodex-contain",
	}
	if slices.Contains(names, "orchestrator") || slices.Contains(names, "telecodex") {
		names = append(slices.Clone(names), contain)
	}
	programs := Programs{dir: dir}
	for _, name := range names {
		pkg, known := packages[name]
		if !known {
			return Programs{}, fmt.Errorf("build: there is no program %q", name)
		}
		args := []string{"build", "-buildvcs=false", "-o", programs.Path(name)}
		if name != "fakecodex" && name != "faketelegram" {
			args = append(args, flags...)
		}
		if output, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
			return Programs{}, fmt.Errorf("build %s: %w: %s", name, err, output)
		}
	}
	return programs, nil
}

// Path is where a program stands.
func (p Programs) Path(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(p.dir, name)
}
