package command

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The other shells are tried where they can surely be had.

// completed runs a driver of a shell and returns the words it offers.
func completed(t *testing.T, path string, args ...string) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return strings.Fields(string(output))
}

func TestZshCompletes(t *testing.T) {
	zsh := shell(t, "zsh")
	// In place of the completion system, which only a terminal has.
	driver := "compdef() { : }; compadd() { shift; print -r -- \"$@\" }; _files() { print FILES \"$@\" }\n" + Completion("zsh", []Command{example()}) +
		"words=(\"$@\"); CURRENT=$#words; _example"
	for line, want := range map[string][]string{
		"example ":                       {"run", "shell", "--ack-policy", "--live-mode", "--store", "--dir", "--once", "--help", "--version"},
		"example run --ack-policy ":      {"always", "on-success"},
		"example --live-mode ":           {"true", "false"},
		"example run --once --store ":    {"FILES"},
		"example run --dir ":             {"FILES", "-/"},
		"example shell ":                 append(Shells(), "--help", "--version"),
		"example shell --ack-policy zsh": append(Shells(), "--help", "--version"),
	} {
		if got := completed(t, zsh, append([]string{"-f", "-c", driver, "zsh"}, strings.Split(line, " ")...)...); !slices.Equal(got, want) {
			t.Errorf("%q: completed to %q, want %q", line, got, want)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	fish := shell(t, "fish")
	for line, want := range map[string][]string{
		"example s":                 {"shell"},
		"example --o":               {"--once"},
		"example run --l":           {"--live-mode"},
		"example run --ack-policy ": {"always", "on-success"},
		"example --live-mode ":      {"false", "true"},
		"example shell ":            {"bash", "fish", "zsh"},
		"example shell --st":        nil,
	} {
		driver := Completion("fish", []Command{example()}) + "complete -C '" + line + "' | string split -f 1 \\t; true"
		if got := completed(t, fish, "--no-config", "-c", driver); !slices.Equal(got, want) {
			t.Errorf("%q: completed to %q, want %q", line, got, want)
		}
	}
}
