//go:build real

package real_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// installTimeout bounds one npm ci: Codex is some 100 MB.
const installTimeout = 5 * time.Minute

var errNoNPM = errors.New("npm is not installed")

// The installations, made when the first test asks for them.
var (
	codexInstall    = sync.OnceValues(func() (string, error) { return install("codex") })
	telegramInstall = sync.OnceValues(func() (string, error) { return install("telegram-test-api") })
	repository      = sync.OnceValues(findRepository)
)

// nativeCodex is the path of the native Codex binary.
func nativeCodex(t *testing.T) string {
	t.Helper()
	dir := installed(t, codexInstall)
	pattern := filepath.Join(dir, "node_modules", "@openai", "codex-*", "vendor", "*", "bin", "codex")
	if runtime.GOOS == "windows" {
		pattern += ".exe"
	}
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d native binaries match %s (%v)", len(found), pattern, err)
	}
	return found[0]
}

// codexCommand is the path of the codex command as npm installs it: a script around the native binary.
func codexCommand(t *testing.T) string {
	t.Helper()
	return filepath.Join(installed(t, codexInstall), "node_modules", ".bin", "codex")
}

func installed(t *testing.T, install func() (string, error)) string {
	t.Helper()
	dir, err := install()
	if errors.Is(err, errNoNPM) && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, NOT TESTED: %v, so what this test runs cannot be installed", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// install puts the packages that npm/<name> locks into .tools/<name> of the repository, unless they are there already, and
// returns that directory.
func install(name string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", name)
	locked, err := os.ReadFile(filepath.Join("npm", name, "package-lock.json"))
	if err != nil {
		return "", err
	}
	// npm writes this file last, so it also says that an earlier installation was not broken off; the copy of the lock
	// beside it says of what.
	stamp := filepath.Join(dir, "node_modules", ".package-lock.json")
	have, readErr := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if _, statErr := os.Stat(stamp); statErr == nil && readErr == nil && bytes.Equal(have, locked) {
		return dir, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errNoNPM
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("npm", name))); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci in %s: %w\n%s", dir, err, output)
	}
	return dir, nil
}

// findRepository is the directory above this one that holds go.work.
func findRepository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.work above the test's directory")
		}
	}
}

// scratch makes a directory for one test beneath the repository's .tools: a CODEX_HOME in the temporary directory would make
// Codex complain, and so would one that commands in the sandbox may write to.
func scratch(t *testing.T) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Join(root, ".tools", "real")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
