package codex

import (
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	id := "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"
	for _, tc := range []struct {
		name    string
		request Request
		want    string
	}{
		{"new thread", Request{Approval: "never", Sandbox: "workspace-write", Dir: "/w"},
			"--ask-for-approval never exec --json --skip-git-repo-check --sandbox workspace-write -C /w -"},
		{"resume", Request{Approval: "never", Sandbox: "read-only", Dir: "/w", ThreadID: id},
			"--ask-for-approval never exec --json --skip-git-repo-check --sandbox read-only -C /w resume " + id + " -"},
		{"no approval flag", Request{Sandbox: "danger-full-access", Dir: "/w"},
			"exec --json --skip-git-repo-check --sandbox danger-full-access -C /w -"},
		{"a model", Request{Approval: "never", Sandbox: "read-only", Dir: "/w", Model: "gpt-5.1", ThreadID: id},
			"--ask-for-approval never exec --json --skip-git-repo-check --sandbox read-only -C /w -m gpt-5.1 resume " + id + " -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strings.Join(Argv(tc.request), " "); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestThreadIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"01a1ffd2-7c2a-7ba3-b974-221e2ce82709":   true,
		"01A1FFD2-7C2A-7BA3-B974-221E2CE82709":   true,
		"":                                       false,
		"--last":                                 false,
		"01a1ffd27c2a7ba3b974221e2ce82709":       false,
		"01a1ffd2-7c2a-7ba3-b974-221e2ce8270g":   false,
		"01a1ffd2-7c2a-7ba3-b974-221e2ce82709\n": false,
	} {
		if IsThreadID(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}
