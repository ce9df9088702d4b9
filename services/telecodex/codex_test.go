package telecodex

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// install puts a program named codex, whose `login status` ends with a status,
// on an otherwise empty PATH.
func install(t *testing.T, loginStatus string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the stand-in for codex is a shell script")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "codex")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit "+loginStatus+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	return path
}

func TestChooseCodex(t *testing.T) {
	for _, tt := range []struct {
		name     string
		login    string // status of `codex login status`; empty: no codex
		env      map[string]string
		scripted bool
		why      string
	}{
		{"none installed", "", nil, true, "not installed"},
		{"not logged in", "1", nil, true, "not logged in"},
		{"logged in", "0", nil, false, "logged in"},
		{"with a key", "1", map[string]string{"CODEX_API_KEY": "sk-test"}, false, "CODEX_API_KEY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			want := ""
			if tt.login != "" {
				want = install(t, tt.login)
			}
			got, err := chooseCodex(t.Context(), func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok }, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(got.why, "scripted") != tt.scripted || !strings.Contains(got.why, tt.why) {
				t.Errorf("why = %q", got.why)
			}
			if !tt.scripted && got.bin != want {
				t.Errorf("bin = %q, want %q", got.bin, want)
			}
			if got.key != tt.env["CODEX_API_KEY"] {
				t.Error("the key is not the environment's")
			}
		})
	}
}

func TestNamedCodexIsTakenAsItIs(t *testing.T) {
	got, err := chooseCodex(t.Context(), func(name string) (string, bool) { return "/opt/codex", name == "ORCHESTRATOR_CODEX_BIN" }, t.TempDir())
	if err != nil || got.bin != "/opt/codex" {
		t.Fatalf("choice = %+v, %v", got, err)
	}
}

func TestScriptedCodexIsThisProgramUnderAnotherName(t *testing.T) {
	codex, err := scripted(t.TempDir(), "a test")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(codex.bin, "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "codex-cli ") {
		t.Errorf("--version = %q, %v", out, err)
	}
}

func TestPlaceRefusesToOverwrite(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, path := range []string{from, to} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := place(from, to); err == nil {
		t.Error("overwritten")
	}
}
