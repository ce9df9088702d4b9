package telecodex

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/orchestrator"
)

func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	status = Main(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &log)
	return status, out.String(), log.String()
}

func TestCommandLine(t *testing.T) {
	invalid := func(text string) string {
		return `{"status":"failed","reason":"invalid-config","error":"` + text + `"}` + "\n"
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		stdout string
	}{
		{"help", []string{"--help"}, 0, "NAME\n    telecodex - "},
		{"help as a word", []string{"help"}, 0, "NAME\n    telecodex - "},
		{"help of a command", []string{"help", "demo"}, 0, "NAME\n    telecodex demo - "},
		{"a command's help", []string{"run", "--help"}, 0, "NAME\n    telecodex run - "},
		{"help among the flags of run", []string{"--once", "-h"}, 0, "NAME\n    telecodex run - "},
		{"version", []string{"--version"}, 0, "telecodex "},
		{"a command's version", []string{"demo", "--version"}, 0, "telecodex "},
		{"no such command", []string{"fly"}, 2, invalid("unknown argument: fly")},
		{"help of no such command", []string{"help", "fly"}, 2, invalid("unknown argument: fly")},
		{"too much help", []string{"help", "run", "now"}, 2, invalid("unknown argument: now")},
		{"no token", []string{"--once"}, 2, invalid("token must be a non-empty string")},
		{"no shell", []string{"completion"}, 2, invalid("missing value for SHELL")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, _ := call(t, tt.args...)
			if status != tt.status || !strings.HasPrefix(stdout, tt.stdout) {
				t.Errorf("status %d, stdout %q", status, stdout)
			}
		})
	}
}

func TestAWorkerOfItsOwnIsRefusedMissingRoots(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	env := func(name string) (string, bool) {
		value, set := map[string]string{"CHANNEL_TOKEN": "1:x", "CHANNEL_ALLOWED_CHAT_IDS": "1", "ORCHESTRATOR_WORKSPACE_ROOTS": missing}[name]
		return value, set
	}
	var out, log bytes.Buffer
	status := Main(t.Context(), []string{"--once"}, env, &out, &log)
	if status != 2 || !strings.Contains(out.String(), "invalid-config") || !strings.Contains(out.String(), "ORCHESTRATOR_WORKSPACE_ROOTS") {
		t.Errorf("status %d, stdout %q", status, out.String())
	}
}

func TestEveryCommandRefusesArgumentsAlike(t *testing.T) {
	want := `{"status":"failed","reason":"invalid-config","error":"unknown argument: --bogus"}` + "\n"
	for _, c := range commands() {
		if status, stdout, _ := call(t, c.word, "--bogus=x"); status != 2 || stdout != want {
			t.Errorf("%s: status %d, stdout %q", c.word, status, stdout)
		}
		for _, f := range c.page.Flags {
			if f.Value == "" {
				continue
			}
			want := `{"status":"failed","reason":"invalid-config","error":"missing value for ` + f.Name + `"}` + "\n"
			if status, stdout, _ := call(t, c.word, f.Name); status != 2 || stdout != want {
				t.Errorf("%s %s: status %d, stdout %q", c.word, f.Name, status, stdout)
			}
		}
	}
}

func TestEveryPageIsWhole(t *testing.T) {
	pages := append([]command.Command{manual(), gateway.Manual(), orchestrator.Manual()}, manual().Commands...)
	for i, page := range pages {
		if i >= 3 && commands()[i-3].word != strings.TrimPrefix(page.Name, "telecodex ") {
			t.Errorf("the page of %s is %s", commands()[i-3].word, page.Name)
		}
		if page.Name == "" || page.Summary == "" || len(page.Synopsis) == 0 || page.Description == "" || len(page.Statuses) == 0 || len(page.Examples) == 0 {
			t.Errorf("the page of %s is not whole", page.Name)
		}
		text := strings.Join(strings.Fields(page.Page()), " ")
		for _, f := range append(page.Flags, page.Variables...) {
			if f.Help == "" || !strings.Contains(text, f.Name) || !strings.Contains(text, f.Variable) || !strings.Contains(text, f.Default) {
				t.Errorf("%s: %s%s is not explained", page.Name, f.Name, f.Variable)
			}
		}
	}
}

func TestCompletionKnowsThePrograms(t *testing.T) {
	status, stdout, _ := call(t, "completion", "bash")
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"complete -F _telecodex telecodex", "complete -F _gateway gateway", "complete -F _orchestrator orchestrator",
		"run|demo|", "--allowed-chat-ids", "--max-turns"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing", want)
		}
	}
}
