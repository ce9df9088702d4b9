package gateway

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/rpc"
)

func program(t *testing.T, args ...string) (status int, stdout string) {
	t.Helper()
	var out, log bytes.Buffer
	status = Main(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &log)
	return status, out.String()
}

// It is asked without a token: who looks whether the gateway lives need not know it.
func TestHealthcheckNeedsTheListenerAlone(t *testing.T) {
	t.Parallel()
	listener, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	done := make(chan error, 1)
	go func() { done <- server.Serve(t.Context(), listener, time.Second) }()
	addr := listener.Addr().String()
	if status, stdout := program(t, "healthcheck", "--listen-addr", addr); status != 0 || stdout != "gateway at "+addr+" serves\n" {
		t.Errorf("status %d, %q", status, stdout)
	}
	server.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status, stdout := program(t, "healthcheck", "--listen-addr", addr); status != 1 || !strings.Contains(stdout, "does not serve") {
		t.Errorf("status %d, %q", status, stdout)
	}
	if status, stdout := program(t, "healthcheck", "--listen-addr", "off"); status != 1 || !strings.Contains(stdout, "it has no listener") {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		status int
		stdout string
	}{
		{[]string{"--help"}, 0, "NAME\n    gateway - "},
		{[]string{"help", "healthcheck"}, 0, "NAME\n    gateway healthcheck - "},
		{[]string{"healthcheck", "--version"}, 0, "gateway "},
		{[]string{"healthcheck", "--bogus"}, 2, `{"status":"failed","reason":"invalid-config","error":"unknown argument: --bogus"}`},
		{[]string{"fly"}, 2, `{"status":"failed","reason":"invalid-config","error":"unknown argument: fly"}`},
		{[]string{"healthcheck", "--send-rate", "x"}, 2, `{"status":"failed","reason":"invalid-config","error":"send_rate must be`},
	} {
		if status, stdout := program(t, tt.args...); status != tt.status || !strings.HasPrefix(stdout, tt.stdout) {
			t.Errorf("%q: status %d, stdout %q", tt.args, status, stdout)
		}
	}
}
