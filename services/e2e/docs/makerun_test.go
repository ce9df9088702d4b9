package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What `make run` runs is decided by the shell, once everything is built: here, by the
// lines that make would give to it, with a program that says what it was told.
func TestMakeRunIsTheBotWithATokenAndTheDemonstrationWithout(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: make's lines are for a POSIX shell")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "telecodex"), []byte("#!/bin/sh\necho \"telecodex $*\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dry := exec.CommandContext(t.Context(), "make", "--dry-run", "--no-print-directory", "run", "ARGS=--once")
	dry.Dir = root
	lines, err := dry.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, found := strings.Cut(string(lines), "\nif ") // behind the build
	if !found {
		t.Fatalf("make run is %s", lines)
	}
	for setting, want := range map[string]string{
		"CHANNEL_TOKEN=1:x":            "telecodex run --once\n",
		"CHANNEL_TOKEN_FILE=token.txt": "telecodex run --once\n",
		"CHANNEL_ALLOWED_CHAT_IDS=1":   "telecodex demo --once\n",
	} {
		shell := exec.CommandContext(t.Context(), "sh", "-c", "if "+recipe)
		shell.Dir, shell.Env = dir, []string{"PATH=" + os.Getenv("PATH"), setting}
		if output, err := shell.CombinedOutput(); err != nil || string(output) != want {
			t.Errorf("with %s: %q, %v, want %q", setting, output, err, want)
		}
	}
}
