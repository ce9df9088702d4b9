//go:build linux

package compose_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Where no engine can run, .ci/engine does not look as if the tests had passed: it has
// a status of its own, and says why. The command is not run.
func TestWithoutAnEngineNothingLooksTested(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, does := range map[string]string{"docker": "exit 1", "sudo": "[ $1 = rm ] && shift && exec rm \"$@\"; exit 1", "id": "echo 1000"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+does+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join("..", "..", "..", ".ci", "engine"), "echo", "it ran")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	output, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 69 {
		t.Errorf("it ends with %v", err)
	}
	if text := string(output); !strings.Contains(text, "engine: SKIPPED, NOT TESTED: no container engine runs") || strings.Contains(text, "it ran") {
		t.Errorf("it says\n%s", text)
	}
}
