package orchestrator

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// workspaces is the directory of the sessions' directories in a state directory.
const workspaces = "workspaces"

// maxEnvFile is how large a file with a variable's value may be, in bytes.
const maxEnvFile = 32 << 10

// CheckPaths says which setting names a path that a worker could not begin with.
// ConfigFrom looks at no disk, so that a configuration can be read elsewhere.
func (c Config) CheckPaths() error {
	_, err := c.prepared()
	return err
}

// prepared makes paths absolute, since Codex runs elsewhere, and fills in what an
// embedding program may leave out.
func (c Config) prepared() (Config, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	var err error
	if c.WorkspaceDir == "" && c.StateSlotsDir == "" {
		c.WorkspaceDir = filepath.Join(c.StateDir, workspaces)
	}
	for _, path := range []*string{&c.StateDir, &c.StateSlotsDir, &c.WorkspaceDir, &c.CodexHome} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return Config{}, fmt.Errorf("absolute path: %w", err)
		}
	}
	if c.CodexEnv, err = c.codexEnv(); err != nil {
		return Config{}, err
	}
	roots := make([]string, len(c.WorkspaceRoots))
	for i, root := range c.WorkspaceRoots {
		if roots[i], err = resolved(root); err != nil {
			return Config{}, fmt.Errorf("ORCHESTRATOR_WORKSPACE_ROOTS (--workspace-roots) must name directories that exist: %w", err)
		}
	}
	c.WorkspaceRoots = roots
	return c, nil
}

// base is the environment that every Codex gets; home is empty but for what Codex
// puts there.
func (c Config) base(home string) codex.Base {
	base := c.CodexBase
	base.Home, base.CodexHome = home, c.CodexHome
	return base
}

func resolved(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(absolute)
	if err == nil && !info.IsDir() {
		err = &os.PathError{Op: "open", Path: absolute, Err: syscall.ENOTDIR}
	}
	return absolute, err
}

// codexEnv is CodexEnv with what the files of CodexEnvFiles hold. An empty file is
// left out, so that one deployment serves those with a key and those without.
func (c Config) codexEnv() (map[string]string, error) {
	env := maps.Clone(c.CodexEnv)
	for _, name := range slices.Sorted(maps.Keys(c.CodexEnvFiles)) {
		text, err := readValue(c.CodexEnvFiles[name])
		if err != nil {
			return nil, fmt.Errorf("ORCHESTRATOR_CODEX_ENV_FILES (--codex-env-files): %s: %w", name, err)
		}
		if text == "" {
			continue
		}
		if env == nil {
			env = map[string]string{}
		}
		env[name] = text
	}
	return env, nil
}

// readValue reads a variable's value: a file without the end of its last line.
func readValue(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxEnvFile+1))
	switch {
	case err != nil:
		return "", err
	case len(content) > maxEnvFile:
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxEnvFile)
	case strings.ContainsRune(string(content), 0):
		return "", fmt.Errorf("%s holds a NUL", path)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// openDir takes hold of the state directory.
func (c Config) openDir() (*statedir.Dir, error) {
	if c.StateSlotsDir != "" {
		return statedir.OpenSlot(c.StateSlotsDir)
	}
	return statedir.Open(c.StateDir)
}

// at is the configuration of the worker that holds dir: with slots, what the slot
// decides is known only now.
func (c Config) at(dir *statedir.Dir) (Config, error) {
	c.StateDir = dir.Path()
	if c.StateSlotsDir == "" {
		return c, nil
	}
	if c.WorkspaceDir == "" {
		c.WorkspaceDir = filepath.Join(c.StateDir, workspaces)
	}
	var err error
	c.login = c.CodexHome
	c.CodexHome, err = dir.CodexHome(c.login)
	return c, err
}

// mask is what Codex must not see: the worker's own, and the workspaces, for a
// session sees its own, not the others'; with slots, the other workers'.
func (c Config) mask(dir *statedir.Dir) []string {
	mask := append([]string{dir.Private(), c.WorkspaceDir}, c.ExtraMask...)
	if c.StateSlotsDir != "" {
		mask = append(mask, c.StateSlotsDir)
	}
	return mask
}

// keep is what Codex sees of that nevertheless.
func (c Config) keep(dir *statedir.Dir) []string {
	keep := append([]string{c.CodexHome}, c.WorkspaceRoots...)
	if c.StateSlotsDir != "" {
		keep = append(keep, dir.Home())
	}
	if c.login != "" {
		keep = append(keep, c.login)
	}
	return keep
}
