package telecodex

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/telegramsim"
)

func TestAFailedCycleIsSaidOnce(t *testing.T) {
	dead, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings := map[string]string{
		"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": "http://" + dead,
		"CHANNEL_ALLOWED_CHAT_IDS": "1000", "CHANNEL_STORE": filepath.Join(dir, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "",
		"ORCHESTRATOR_STATE_DIR": filepath.Join(dir, "worker"), "ORCHESTRATOR_CODEX_HOME": filepath.Join(dir, "codex"),
		"ORCHESTRATOR_METRICS_ADDR": "off", "ORCHESTRATOR_CODEX_BIN": filepath.Join(dir, "no-such-codex"),
	}
	for _, mode := range []string{"codex", "default"} {
		settings["CHANNEL_ORCHESTRATOR_MODE"] = mode
		var out, log bytes.Buffer
		status := Main(t.Context(), []string{"--once"}, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, &out, &log)
		if status != lifecycle.ExitFailed || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"reason":"adapter-fetch-exception"`) {
			t.Errorf("%s: status %d, stdout %q", mode, status, out.String())
		}
		if n := strings.Count(log.String(), "the cycle failed"); n != 1 {
			t.Errorf("%s: said %d times: %s", mode, n, log.String())
		}
	}
}
