package orchestrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/orchestrator"
)

func configFrom(env map[string]string, args ...string) (orchestrator.Config, error) {
	return orchestrator.ConfigFrom(args, func(name string) string { return env[name] })
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := configFrom(map[string]string{"HOME": "/home/me"})
	if err != nil {
		t.Fatal(err)
	}
	if c.ListenAddr != "127.0.0.1:7450" || c.MetricsAddr != "127.0.0.1:9450" || c.CodexBin != "codex" || c.CodexHome != "/home/me/.codex" ||
		c.StateDir != ".orchestrator" || c.IdleTimeout != 600*time.Second || c.Drain != 30*time.Second || c.MaxTurns != 16 || c.KeepTurns != 100_000 ||
		!slices.Equal(c.AllowedSandboxes, []string{"read-only", "workspace-write"}) || c.TurnTimeout != 1800*time.Second || c.LogLevel != "info" {
		t.Errorf("config = %+v", c)
	}
}

func TestConfigTakesFlagOverEnvironmentOverDefault(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ORCHESTRATOR_MAX_TURNS": "3", "ORCHESTRATOR_DRAIN_S": "1.5", "ORCHESTRATOR_CODEX_ENV": "KEY,A=b,MISSING", "KEY": "secret"}
	c, err := configFrom(env, "--max-turns", "4", "--metrics-addr=", "--workspace-roots", "/a, /b",
		"--otlp-endpoint", "http://collector:4317", "--pprof-addr", "unix:///run/p")
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxTurns != 4 || c.Drain != 1500*time.Millisecond || c.MetricsAddr != "" || c.OTLPEndpoint != "http://collector:4317" || c.PprofAddr != "unix:///run/p" || !slices.Equal(c.WorkspaceRoots, []string{"/a", "/b"}) ||
		len(c.CodexEnv) != 2 || c.CodexEnv["KEY"] != "secret" || c.CodexEnv["A"] != "b" {
		t.Errorf("config = %+v", c)
	}
}

func TestConfigErrorsAreOneLineAndNameTheSetting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"--nonsense 1", "unknown argument: --nonsense"},
		{"stray", "unknown argument: stray"},
		{"--max-turns", "missing value for --max-turns"},
		{"--max-turns 0", "ORCHESTRATOR_MAX_TURNS"},
		{"--max-turns many", "ORCHESTRATOR_MAX_TURNS"},
		{"--keep-turns 999", "ORCHESTRATOR_KEEP_TURNS"},
		{"--idle-timeout-s 0", "ORCHESTRATOR_IDLE_TIMEOUT_S"},
		{"--idle-timeout-s NaN", "ORCHESTRATOR_IDLE_TIMEOUT_S"},
		{"--turn-timeout-s -1", "ORCHESTRATOR_TURN_TIMEOUT_S"},
		{"--drain-s 1e99", "ORCHESTRATOR_DRAIN_S"},
		{"--allowed-sandboxes none", "ORCHESTRATOR_ALLOWED_SANDBOXES"},
		{"--allowed-sandboxes read-only,,", "ORCHESTRATOR_ALLOWED_SANDBOXES"},
		{"--allowed-sandboxes=", "ORCHESTRATOR_ALLOWED_SANDBOXES"},
		{"--codex-bin=", "ORCHESTRATOR_CODEX_BIN"},
		{"--codex-env A-B=1", "ORCHESTRATOR_CODEX_ENV"},
		{"--otlp-endpoint collector:4317", "ORCHESTRATOR_OTLP_ENDPOINT"},
		{"--insecure true --pprof-addr 0.0.0.0:6060", "ORCHESTRATOR_PPROF_ADDR"},
		{"--insecure maybe", "ORCHESTRATOR_INSECURE"},
		{"--log-level loud", "ORCHESTRATOR_LOG_LEVEL"},
		{"--listen-addr nowhere", "nowhere"},
		{"--listen-addr 0.0.0.0:7450", "ORCHESTRATOR_INSECURE"},
		{"--metrics-addr :9450", "ORCHESTRATOR_INSECURE"},
		{"--tls-cert-file a.pem", "ORCHESTRATOR_TLS_CERT_FILE and ORCHESTRATOR_TLS_KEY_FILE belong together"},
		{"--tls-client-ca-file ca.pem", "ORCHESTRATOR_TLS_CLIENT_CA_FILE is given without ORCHESTRATOR_TLS_CERT_FILE"},
		{"--listen-addr 0.0.0.0:7450 --insecure true --auth-token-file t", "ORCHESTRATOR_AUTH_TOKEN_FILE is given, but"},
		{"--reflection perhaps", "ORCHESTRATOR_REFLECTION"},
		{"--client-rate -1", "ORCHESTRATOR_CLIENT_RATE"},
		{"--client-rate NaN", "ORCHESTRATOR_CLIENT_RATE"},
		{"--client-streams x", "ORCHESTRATOR_CLIENT_STREAMS"},
		{"--client-streams 31", "ORCHESTRATOR_CLIENT_STREAMS (--client-streams) must be 0, or at least 32 with ORCHESTRATOR_MAX_TURNS=16"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := configFrom(nil, strings.Fields(tt.args)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v", err)
			}
		})
	}
	for _, line := range []string{"--insecure true", "--tls-cert-file a.pem --tls-key-file a.key", "--tls-cert-file a.pem --tls-key-file a.key --auth-token-file t"} {
		if _, err := configFrom(nil, append(strings.Fields(line), "--listen-addr", "0.0.0.0:7450", "--metrics-addr", "0.0.0.0:9450")...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Whatever the settings say, either they are refused in one line or the worker can
// begin with them.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"--max-turns 4", "--drain-s 1.5 --idle-timeout-s 1e-9", "--listen-addr unix:///tmp/s --insecure yes",
		"--codex-env A=b,,C --allowed-sandboxes read-only", "--keep-turns 1000 --log-level debug", "--turn-timeout-s NaN", "--workspace-roots /a,/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := configFrom(map[string]string{"HOME": "/home/me"}, strings.Fields(line)...)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
			return
		}
		if c.MaxTurns < 1 || c.KeepTurns < 1000 || c.TurnTimeout <= 0 || c.IdleTimeout <= 0 || c.Drain < 0 || c.CodexBin == "" || c.StateDir == "" ||
			len(c.AllowedSandboxes) == 0 {
			t.Errorf("config = %+v", c)
		}
	})
}

func TestProgramReportsABadConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, flag, value, want string }{
		{"a number that is none", "--max-turns", "x", "ORCHESTRATOR_MAX_TURNS"},
		{"a root that is missing", "--workspace-roots", file + ".none", "ORCHESTRATOR_WORKSPACE_ROOTS"},
		{"a certificate that is missing", "--tls-cert-file", file + ".none --tls-key-file " + file, "ORCHESTRATOR_TLS_CERT_FILE cannot be read: open "},
		{"a token file without a token", "--auth-token-file", file, "ORCHESTRATOR_AUTH_TOKEN_FILE: the file holds no token"},
		{"a root that is a file", "--workspace-roots", file, "ORCHESTRATOR_WORKSPACE_ROOTS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := orchestrator.Main(t.Context(), append(append([]string{tt.flag}, strings.Fields(tt.value)...), "--state-dir", file), func(string) (string, bool) { return "", false }, &stdout, &stderr)
			var report map[string]string
			if err := json.Unmarshal(stdout.Bytes(), &report); err != nil || strings.Count(stdout.String(), "\n") != 1 {
				t.Fatalf("stdout = %q, %v", stdout.String(), err)
			}
			if status != 2 || report["status"] != "failed" || report["reason"] != "invalid-config" || !strings.Contains(report["error"], tt.want) || stderr.Len() > 0 {
				t.Errorf("status %d, report %v, stderr %q", status, report, stderr.String())
			}
		})
	}
}

func TestProgramExplainsItself(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	status := orchestrator.Main(context.Background(), []string{"--help"}, func(string) (string, bool) { return "", false }, &stdout, &stdout)
	if status != 0 || !strings.Contains(stdout.String(), "[variable ORCHESTRATOR_LISTEN_ADDR; default 127.0.0.1:7450]") {
		t.Errorf("status %d, %q", status, stdout.String())
	}
}

func TestProgramServesUntilItIsAskedToStop(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	ctx, cancel := context.WithCancel(t.Context())
	logs := &buffer{}
	done := make(chan int, 1)
	args := []string{"--listen-addr", "127.0.0.1:0", "--metrics-addr", "off", "--state-dir", config.StateDir, "--codex-bin", fakecodex}
	go func() {
		done <- orchestrator.Main(ctx, args, func(string) (string, bool) { return "", false }, logs, logs)
	}()
	eventually(t, "it serves", func() bool { return strings.Contains(logs.String(), `"serving"`) })
	cancel()
	if status := <-done; status != 0 || !strings.Contains(logs.String(), `"stopped"`) {
		t.Errorf("status %d, %s", status, logs.String())
	}
}
