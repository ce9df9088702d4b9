package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shell finds a shell, or skips the test.
func shell(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func TestBashCompletes(t *testing.T) {
	bash := shell(t, "bash")
	dir := t.TempDir()
	for _, name := range []string{"token.txt", "sub/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := Completion("bash", []Command{example(), {Name: "single", Flags: []Flag{{Name: "--size", Value: "N"}}}})
	for _, tt := range []struct {
		line string // what is typed; the last word is completed
		want []string
	}{
		{"example ", []string{"run", "shell", "--ack-policy", "--live-mode", "--store", "--dir", "--once", "--help", "--version"}},
		{"example r", []string{"run"}},
		{"example --o", []string{"--once"}},
		{"example run --l", []string{"--live-mode"}},
		{"example run --ack-policy o", []string{"on-success"}},
		{"example --ack-policy ", []string{"always", "on-success"}},
		{"example run --live-mode ", []string{"true", "false"}},
		{"example run --store to", []string{"token.txt"}},
		{"example run --dir ", []string{"sub"}},
		{"example shell ", append(Shells(), "--help", "--version")},
		{"example shell z", []string{"zsh"}},
		{"single --s", []string{"--size"}},
		{"single --size ", nil},
	} {
		t.Run(tt.line, func(t *testing.T) {
			words := strings.Split(tt.line, " ")
			quoted := make([]string, len(words))
			for i, word := range words {
				quoted[i] = "'" + word + "'"
			}
			// What bash itself does when Tab is pressed.
			driver := script + "\nCOMP_WORDS=(" + strings.Join(quoted, " ") + ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n" +
				"function=$(complete -p " + words[0] + "); function=${function#*-F }; ${function%% *}\n" +
				"((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\""
			command := exec.CommandContext(t.Context(), bash, "-c", driver)
			command.Dir = dir
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if got := strings.Fields(string(output)); !slices.Equal(got, tt.want) {
				t.Errorf("completed to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnknownShellGetsNothing(t *testing.T) {
	if script := Completion("tcsh", []Command{example()}); script != "" {
		t.Errorf("got %q", script)
	}
}
