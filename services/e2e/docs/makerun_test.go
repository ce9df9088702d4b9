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

// On a new machine `make test` builds what the documents' lines are run with, before
// it runs them, and nothing that takes long; once it is there it stays.
func TestMakeTestBuildsTheToolsOfTheDocuments(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: make's lines are for a POSIX shell")
	}
	dir := t.TempDir()
	dry := func() string {
		command := exec.CommandContext(t.Context(), "make", "--dry-run", "--no-print-directory", "test")
		command.Dir = dir
		lines, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, lines)
		}
		before, _, found := strings.Cut(string(lines), "testreport")
		if !found {
			t.Fatalf("make test is %s", lines)
		}
		return before
	}
	for _, name := range []string{"gen/tools", ".bin"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(name)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Makefile", "gen/tools/go.mod", "gen/tools/go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := dry()
	for _, program := range []string{"github.com/fullstorydev/grpcurl/cmd/grpcurl", "github.com/itchyny/gojq/cmd/gojq"} {
		if !strings.Contains(lines, "go -C gen/tools install "+program+" ") {
			t.Errorf("it does not build %s:\n%s", program, lines)
		}
	}
	if strings.Contains(lines, "buf") || strings.Contains(lines, "install tool") {
		t.Errorf("it builds more:\n%s", lines)
	}
	for _, name := range []string{"grpcurl", "gojq"} {
		if err := os.WriteFile(filepath.Join(dir, ".bin", name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if lines := dry(); strings.Contains(lines, "install") {
		t.Errorf("it builds anew what is there:\n%s", lines)
	}
}
