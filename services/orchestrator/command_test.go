package orchestrator_test

import (
	"bytes"
	"strings"
	"testing"

	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/orchestrator"
)

func program(t *testing.T, args ...string) (status int, stdout string) {
	t.Helper()
	var out, log bytes.Buffer
	status = orchestrator.Main(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &log)
	return status, out.String()
}

func TestHealthcheckAsksTheWorkerThatRuns(t *testing.T) {
	t.Parallel()
	w := start(t)
	if status, stdout := program(t, "healthcheck", "--listen-addr", w.addr); status != 0 || stdout != "orchestrator at "+w.addr+" serves\n" {
		t.Errorf("status %d, %q", status, stdout)
	}
	gone, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	if status, stdout := program(t, "healthcheck", "--listen-addr", gone); status != 1 || !strings.Contains(stdout, "does not serve") {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestDoctorLooksAtWhatAWorkerNeeds(t *testing.T) {
	config := testConfig(t)
	flags := []string{"doctor", "--codex-bin", fakecodex, "--codex-home", t.TempDir(), "--state-dir", config.StateDir, "--codex-env"}
	if status, stdout := program(t, append(flags, "FAKE_CODEX_EXPECT_SANDBOX=workspace-write")...); status != 0 || !strings.Contains(stdout, "ok    sandbox workspace-write: ") ||
		!strings.Contains(stdout, ", 0 fail\n") {
		t.Errorf("status %d\n%s", status, stdout)
	}
	if status, stdout := program(t, append(flags, "FAKE_CODEX_SANDBOX=no")...); status != 1 || !strings.Contains(stdout, "mend: ") || !strings.Contains(stdout, "seccomp=unconfined") {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		status int
		stdout string
	}{
		{[]string{"--help"}, 0, "NAME\n    orchestrator - "},
		{[]string{"help", "healthcheck"}, 0, "NAME\n    orchestrator healthcheck - "},
		{[]string{"healthcheck", "--help"}, 0, "NAME\n    orchestrator healthcheck - "},
		{[]string{"healthcheck", "--version"}, 0, "orchestrator "},
		{[]string{"healthcheck", "--bogus"}, 2, `{"status":"failed","reason":"invalid-config","error":"unknown argument: --bogus"}`},
		{[]string{"fly"}, 2, `{"status":"failed","reason":"invalid-config","error":"unknown argument: fly"}`},
		{[]string{"healthcheck", "--max-turns", "x"}, 2, `{"status":"failed","reason":"invalid-config","error":"ORCHESTRATOR_MAX_TURNS`},
	} {
		if status, stdout := program(t, tt.args...); status != tt.status || !strings.HasPrefix(stdout, tt.stdout) {
			t.Errorf("%q: status %d, stdout %q", tt.args, status, stdout)
		}
	}
}
