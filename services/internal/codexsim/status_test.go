package codexsim_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestWhatIsAskedBesideTurns(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		env    string
		status int
		stdout string
	}{
		{"version", []string{"--version"}, "", 0, "codex-cli 0.169.0\n"},
		{"another version", []string{"--version"}, "FAKE_CODEX_VERSION=codex-cli 1.0.0", 0, "codex-cli 1.0.0\n"},
		{"logged in", []string{"login", "status"}, "", 0, ""},
		{"not logged in", []string{"login", "status"}, "FAKE_CODEX_LOGIN=no", 1, ""},
		{"another login", []string{"login"}, "", 2, ""},
		{"sandboxed", []string{"sandbox", "-c", `sandbox_mode="read-only"`, "--", "SELF", "--version"}, "", 0, "codex-cli 0.169.0\n"},
		{"sandboxed, and it fails", []string{"sandbox", "--", "SELF", "--bogus"}, "", 2, ""},
		{"no sandbox", []string{"sandbox", "--", "SELF", "--version"}, "FAKE_CODEX_SANDBOX=no", 1, ""},
		{"nothing to sandbox", []string{"sandbox", "--"}, "", 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			command := fake(t, t.TempDir(), "", nil)
			args := []string{command.Args[0]}
			for _, arg := range tt.args {
				args = append(args, strings.Replace(arg, "SELF", command.Path, 1))
			}
			asked := exec.CommandContext(t.Context(), command.Path, args[1:]...)
			asked.Env = append(command.Env, tt.env)
			if got := run(t, asked); got.status != tt.status || got.stdout != tt.stdout {
				t.Errorf("status %d, stdout %q, stderr %q", got.status, got.stdout, got.stderr)
			}
		})
	}
}
