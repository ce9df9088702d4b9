package telecodex

import (
	"bytes"
	"net"
	"os"
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

// One cycle may be run beside a worker that has its usual addresses, as a smoke by
// hand is where the services run apart.
func TestOneCycleBesideAWorkerThatRuns(t *testing.T) {
	// Whoever else has it does as well.
	if listener, err := net.Listen("tcp", "127.0.0.1:9450"); err == nil {
		defer listener.Close()
	}
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	dir := t.TempDir()
	codex, err := scripted(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{
		"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": sim.URL, "CHANNEL_ALLOWED_CHAT_IDS": "1000",
		"CHANNEL_STORE": filepath.Join(dir, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "",
		"ORCHESTRATOR_STATE_DIR": filepath.Join(dir, "worker"), "ORCHESTRATOR_CODEX_HOME": filepath.Join(dir, "codex"), "ORCHESTRATOR_CODEX_BIN": codex.bin,
	}
	var out, log bytes.Buffer
	status := Main(t.Context(), []string{"--once"}, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, &out, &log)
	if status != lifecycle.ExitOK || !strings.Contains(out.String(), `"reason":"processed","sent_count":1,"status":"ok"`) {
		t.Errorf("status %d: %s%s", status, out.String(), log.String())
	}
}

// A worker that cannot begin is a failed cycle with its report, as everything is that
// a cycle meets; nothing was fetched.
func TestOneCycleWithoutAWorkerThatCanBegin(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, value := range map[string]string{"ORCHESTRATOR_STATE_DIR": filepath.Join(file, "state"), "ORCHESTRATOR_METRICS_ADDR": taken.Addr().String()} {
		sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
		dir := t.TempDir()
		settings := map[string]string{
			"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": sim.URL, "CHANNEL_ALLOWED_CHAT_IDS": "1000",
			"CHANNEL_STORE": filepath.Join(dir, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "", "ORCHESTRATOR_STATE_DIR": filepath.Join(dir, "state"),
		}
		settings[setting] = value
		var out, log bytes.Buffer
		status := Main(t.Context(), []string{"--once"}, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, &out, &log)
		if status != lifecycle.ExitFailed || strings.Count(out.String(), "\n") != 1 ||
			!strings.Contains(out.String(), `"reason":"runtime-process-once-exception","sent_count":0,"status":"failed"`) || !strings.Contains(out.String(), "worker: ") {
			t.Errorf("%s: status %d: %s%s", setting, status, out.String(), log.String())
		}
		if n := strings.Count(log.String(), `"msg":"stopped"`); n != 1 {
			t.Errorf("%s: said %d times: %s", setting, n, log.String())
		}
		if pending := sim.State().Pending; pending != 1 {
			t.Errorf("%s: %d updates wait", setting, pending)
		}
	}
}
