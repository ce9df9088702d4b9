// Package harness builds the project's programs and runs them as the processes
// they are, for tests that look at them from outside only: through their ports,
// their output and their files.
package harness

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// contain is looked for by orchestrator and telecodex beside themselves.
const contain = "telecodex-contain"

// packages are the programs by their names.
var packages = map[string]string{
	"gateway":      "telecodex.dev/services/gateway/cmd/gateway",
	"orchestrator": "telecodex.dev/services/orchestrator/cmd/orchestrator",
	"telecodex":    "telecodex.dev/services/telecodex/cmd/telecodex",
	"fakecodex":    "telecodex.dev/services/internal/codexsim/cmd/fakecodex",
	"faketelegram": "telecodex.dev/services/internal/telegramsim/cmd/faketelegram",
	contain:        "telecodex.dev/services/orchestrator/cmd/telecodex-contain",
}

// Programs are built programs in one directory.
type Programs struct{ dir string }

// Path is where a program stands.
func (p Programs) Path(name string) string { return filepath.Join(p.dir, executable(name)) }

func executable(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return name
}

// Build has the named programs (gateway, orchestrator, telecodex, fakecodex,
// faketelegram) in dir, and with a worker what it starts Codex through. In a
// test binary with the race detector they have it too, but for the stand-ins,
// whose start-up time is part of what is measured.
//
// What one test binary has built the next one finds: the programs are kept
// beneath artifacts/ in the repository, where the go command sees whether they
// are what the sources say, and links them again only if they are not.
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
	if slices.Contains(names, "orchestrator") || slices.Contains(names, "telecodex") {
		names = append(slices.Clone(names), contain)
	}
	kept, err := keptAt(flags)
	if err != nil {
		return Programs{}, err
	}
	var own, standIns []string
	for _, name := range names {
		switch {
		case packages[name] == "":
			return Programs{}, fmt.Errorf("build: there is no program %q", name)
		case name == "fakecodex" || name == "faketelegram":
			standIns = append(standIns, name)
		default:
			own = append(own, name)
		}
	}
	if err := errors.Join(compile(ctx, kept, flags, own), compile(ctx, kept, nil, standIns)); err != nil {
		return Programs{}, err
	}
	return Programs{kept}.copied(dir, names)
}

// Rebuilt has the programs of p in dir, one of them built anew with flags of `go
// build`.
func (p Programs) Rebuilt(ctx context.Context, dir string, flags []string, name string) (Programs, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return Programs{}, err
	}
	var others []string
	for _, e := range entries {
		if e.Name() != executable(name) {
			others = append(others, strings.TrimSuffix(e.Name(), ".exe"))
		}
	}
	other, err := p.copied(dir, others)
	if err != nil {
		return Programs{}, err
	}
	return other, compile(ctx, dir, flags, []string{name})
}

// keptAt is the directory of programs that were built with flags.
func keptAt(flags []string) (string, error) {
	h := fnv.New32a()
	_, _ = fmt.Fprintln(h, flags) // never fails
	return Artifacts(filepath.Join("programs", fmt.Sprintf("%08x", h.Sum32())))
}

// Artifacts is a directory for what tests are to leave behind. It is made, and make
// clean removes it.
func Artifacts(name string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("the tests do not run within the repository")
		}
		root = filepath.Dir(root)
	}
	dir := filepath.Join(root, "artifacts", name)
	return dir, os.MkdirAll(dir, 0o755)
}

// compile puts programs into dir. Whoever runs what was there before keeps it.
func compile(ctx context.Context, dir string, flags, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}, flags...)
	for _, name := range names {
		args = append(args, packages[name])
	}
	command := exec.CommandContext(ctx, "go", args...)
	if !slices.Contains(flags, "-race") { // as the Makefile builds them: without cgo a program starts faster
		command.Env = append(command.Environ(), "CGO_ENABLED=0")
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w: %s", names, err, output)
	}
	return nil
}

// copied has the named programs in another directory.
func (p Programs) copied(dir string, names []string) (Programs, error) {
	to := Programs{dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return to, err
	}
	for _, name := range names {
		// A link to a file costs nothing; not every place can have one.
		err := os.Link(p.Path(name), to.Path(name))
		if err == nil {
			continue
		}
		if errors.Is(err, fs.ErrExist) {
			return to, err
		}
		program, err := os.ReadFile(p.Path(name))
		if err != nil {
			return to, err
		}
		if err := os.WriteFile(to.Path(name), program, 0o755); err != nil {
			return to, err
		}
	}
	return to, nil
}
