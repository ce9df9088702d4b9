//go:build real

package real_test

import (
	"os"
	"path/filepath"
	"testing"
)

const botToken = "123456:real-suite-token"

// gateway is a running gateway before a worker.
type gateway struct {
	*program
	dir string
}

// startGateway runs the gateway between a Bot API server and a worker. settings are further variables of its environment, or
// other values.
func startGateway(t *testing.T, w *worker, apiURL string, settings map[string]string) *gateway {
	t.Helper()
	g := &gateway{dir: scratch(t)}
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": g.dir,
		"CHANNEL_TOKEN":             botToken,
		"CHANNEL_TELEGRAM_API_URL":  apiURL,
		"CHANNEL_ORCHESTRATOR_ADDR": w.target,
		"CHANNEL_ALLOWED_CHAT_IDS":  "1001,1002",
		"CHANNEL_STORE":             filepath.Join(g.dir, "gateway.db"),
		"CHANNEL_CURSOR_STATE_PATH": filepath.Join(g.dir, "cursor.json"),
		"CHANNEL_LISTEN_ADDR":       "unix://" + filepath.Join(g.dir, "gateway.sock"),
		"CHANNEL_METRICS_ADDR":      "127.0.0.1:0",
	}
	for name, value := range settings {
		env[name] = value
	}
	g.program = launch(t, g.dir, environment(env), binary(t, "gateway"))
	return g
}
