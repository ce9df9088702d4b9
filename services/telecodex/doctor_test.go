package telecodex

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/orchestrator"
)

// practice is a bot that is set up well, with a simulated Telegram and the
// scripted Codex.
func practice(t *testing.T) (settings map[string]string) {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "codex"), 0o700); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": sim.URL, "CHANNEL_ALLOWED_CHAT_IDS": "1000",
		"CHANNEL_STORE": filepath.Join(dir, "gateway", "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "", "CHANNEL_LISTEN_ADDR": "", "CHANNEL_METRICS_ADDR": "",
		"ORCHESTRATOR_CODEX_BIN": fakecodex(t), "ORCHESTRATOR_CODEX_HOME": filepath.Join(dir, "codex"), "ORCHESTRATOR_STATE_DIR": filepath.Join(dir, "worker"),
	}
}

// consult runs the doctor.
func consult(t *testing.T, settings map[string]string, args ...string) (status int, stdout string) {
	t.Helper()
	var out, log bytes.Buffer
	status = Main(t.Context(), append([]string{"doctor"}, args...), func(name string) (string, bool) { v, set := settings[name]; return v, set }, &out, &log)
	if log.Len() > 0 {
		t.Errorf("stderr: %s", log.String())
	}
	return status, out.String()
}

// diagnosed reads what --json says, by the checks' names.
func diagnosed(t *testing.T, stdout string) (status checkup.Verdict, found map[string]checkup.Finding) {
	t.Helper()
	var d diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("%v in %q", err, stdout)
	}
	found = map[string]checkup.Finding{}
	for _, f := range d.Checks {
		found[f.Name] = f
	}
	return d.Status, found
}

func TestDoctorShowsALineForEachCheck(t *testing.T) {
	status, stdout := consult(t, practice(t))
	if status != lifecycle.ExitOK {
		t.Errorf("status %d:\n%s", status, stdout)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var names []string
	for _, line := range lines[:len(lines)-1] {
		if verdict, rest, _ := strings.Cut(line, "  "); verdict != "" {
			name, _, _ := strings.Cut(strings.TrimSpace(rest), ":")
			names = append(names, name)
		}
	}
	want := "version configuration user token webhook poller clock allowlist store store disk cursor addresses codex codex home codex version login " +
		"sandbox read-only sandbox workspace-write sandboxes containment state directory state directory disk workspace"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("lines: %s\n want: %s", got, want)
	}
	if sum := lines[len(lines)-1]; !strings.HasSuffix(sum, ", 0 fail") {
		t.Errorf("sum %q", sum)
	}
}

func TestDoctorFailsWithWhatIsBroken(t *testing.T) {
	for _, tt := range []struct {
		name, set, value string
		finding          string
		verdict          checkup.Verdict
		detail           string
	}{
		{"token", "CHANNEL_TOKEN", "1:SECRET", "token", checkup.Fail, "refuses it"},
		{"no allowlist", "CHANNEL_ALLOWED_CHAT_IDS", "", "configuration", checkup.Fail, "allowed_chat_ids must be non-empty"},
		{"worker's settings", "ORCHESTRATOR_MAX_TURNS", "many", "configuration", checkup.Fail, "ORCHESTRATOR_MAX_TURNS"},
		{"no Codex", "ORCHESTRATOR_CODEX_BIN", "nobody-has-it", "codex", checkup.Fail, "cannot be found"},
		{"not logged in", "ORCHESTRATOR_CODEX_ENV", "FAKE_CODEX_LOGIN=no,KEY=SECRET", "login", checkup.Fail, "not logged in"},
		{"no sandbox", "ORCHESTRATOR_CODEX_ENV", "FAKE_CODEX_SANDBOX=no", "sandbox read-only", checkup.Fail, "cannot run a command"},
		{"a sandbox that is not allowed", "CHANNEL_CODEX_SANDBOX_MODE", "danger-full-access", "sandbox mode", checkup.Fail, "is refused"},
		{"a directory that is not allowed", "CHANNEL_WORKING_DIR", os.TempDir(), "working directory", checkup.Fail, "workspace roots"},
		{"no worker", "CHANNEL_ORCHESTRATOR_ADDR", "127.0.0.1:1", "worker 127.0.0.1:1", checkup.Fail, "Unavailable"},
		{"memory hook", "CHANNEL_ENABLE_MEMORY_HOOK", "true", "configuration", checkup.Warn, "not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			settings := practice(t)
			settings[tt.set] = tt.value
			settings["CHANNEL_HEARTBEAT_URL"] = "https://example.org/hook?key=SECRET"
			settings["CODEX_API_KEY"] = "sk-SECRET"
			status, stdout := consult(t, settings, "--json")
			if want := map[checkup.Verdict]int{checkup.Fail: 1, checkup.Warn: 0}[tt.verdict]; status != want {
				t.Errorf("status %d:\n%s", status, stdout)
			}
			for _, secret := range []string{"SECRET", telegramsim.DefaultToken} {
				if strings.Contains(stdout, secret) {
					t.Errorf("a secret is shown:\n%s", stdout)
				}
			}
			worst, found := diagnosed(t, stdout)
			if f := found[tt.finding]; worst != tt.verdict && worst != checkup.Fail || f.Verdict != tt.verdict || !strings.Contains(f.Detail, tt.detail) || f.Mend == "" {
				t.Errorf("%s, %+v", worst, f)
			}
		})
	}
}

func TestDoctorOfTheEchoModeAsksNoWorker(t *testing.T) {
	settings := practice(t)
	settings["CHANNEL_ORCHESTRATOR_MODE"], settings["ORCHESTRATOR_CODEX_BIN"] = "default", "nobody-has-it"
	status, stdout := consult(t, settings, "--json")
	_, found := diagnosed(t, stdout)
	if _, asked := found["codex"]; status != 0 || asked || found["mode"].Verdict != checkup.Warn {
		t.Errorf("status %d, %v", status, found)
	}
}

// Who has nothing set up yet is told of everything that can be told.
func TestDoctorLooksAtTheWorkerWithoutAToken(t *testing.T) {
	settings := practice(t)
	delete(settings, "CHANNEL_TOKEN")
	status, stdout := consult(t, settings, "--json")
	_, found := diagnosed(t, stdout)
	if status != 1 || found["configuration"].Detail != "token must be a non-empty string" || found["codex"].Verdict != checkup.OK {
		t.Errorf("status %d, %v", status, found)
	}
}

func TestDoctorWithoutATokenSaysHowToGetOneAndWhatElseIsWrong(t *testing.T) {
	settings := practice(t)
	delete(settings, "CHANNEL_TOKEN")
	delete(settings, "CHANNEL_ALLOWED_CHAT_IDS")
	_, stdout := consult(t, settings, "--json")
	_, found := diagnosed(t, stdout)
	f := found["configuration"]
	if !strings.Contains(f.Detail, "token must be") || !strings.Contains(f.Detail, "; allowed_chat_ids must be non-empty") ||
		!strings.Contains(f.Mend, "@BotFather") || !strings.Contains(f.Mend, "CHANNEL_TOKEN_FILE") {
		t.Errorf("%+v", f)
	}
}

func TestMisspeltVariablesAreToldOf(t *testing.T) {
	settings := practice(t)
	for _, name := range []string{"CHANNEL_CODEX_TIMEOUT", "CHANNEL_ALOWED_CHAT_IDS", "ORCHESTRATOR_MAX_TURN", "ORCHESTRATOR_MAX_TURNS", "CHANNEL_LOG_LEVEL"} {
		settings[name] = map[string]string{"ORCHESTRATOR_MAX_TURNS": "3", "CHANNEL_LOG_LEVEL": "info"}[name]
		if settings[name] == "" {
			settings[name] = "SECRET"
		}
		t.Setenv(name, settings[name])
	}
	status, stdout := consult(t, settings, "--json")
	_, found := diagnosed(t, stdout)
	f := found["unknown variables"]
	if status != 0 || f.Verdict != checkup.Warn || !strings.HasPrefix(f.Detail, "CHANNEL_ALOWED_CHAT_IDS, CHANNEL_CODEX_TIMEOUT, ORCHESTRATOR_MAX_TURN: ") ||
		strings.Contains(stdout, "SECRET") {
		t.Errorf("status %d, %+v", status, f)
	}
}

func TestDoctorTakesTheFlagsOfRun(t *testing.T) {
	settings := practice(t)
	delete(settings, "CHANNEL_ALLOWED_CHAT_IDS")
	if status, stdout := consult(t, settings, "--allowed-chat-ids", "1,2", "--live-mode", "true"); status != 0 || !strings.Contains(stdout, "may use the bot: 2") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
}

func TestDoctorEndsWhenInterrupted(t *testing.T) {
	settings := practice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := func(name string) (string, bool) { v, set := settings[name]; return v, set }
	if status := Main(ctx, []string{"doctor"}, env, &bytes.Buffer{}, &bytes.Buffer{}); status != lifecycle.ExitInterrupted {
		t.Errorf("status %d", status)
	}
}

func TestSharedUserIsExplained(t *testing.T) {
	with := func(token, file string) gateway.Config {
		return gateway.Config{Token: func() string { return token }, TokenFile: file}
	}
	for _, tt := range []struct {
		name    string
		gateway gateway.Config
		uid     int
		verdict checkup.Verdict
		words   []string
	}{
		{"a simulator's token", with(telegramsim.DefaultToken, ""), 0, checkup.OK, []string{"simulator"}},
		{"a token in the environment", with("1:real", ""), 1000, checkup.Warn, []string{"holds the bot token"}},
		{"a token in a file", with("1:real", "token.txt"), 1000, checkup.Warn, []string{"holds the bot token"}},
		{"root", with("1:real", "token.txt"), 0, checkup.Warn, []string{"this is root", "holds the bot token"}},
	} {
		f := sharedUser(tt.gateway, orchestrator.Config{AllowedSandboxes: []string{"read-only"}}, tt.uid)
		for _, word := range tt.words {
			if f.Verdict != tt.verdict || !strings.Contains(f.Detail, word) || strings.Contains(f.Detail, "1:real") {
				t.Errorf("%s: %+v", tt.name, f)
			}
		}
	}
}

func TestTerminalIsToldWhatIsWaitedFor(t *testing.T) {
	var out bytes.Buffer
	stop := countUp(&out, "token")
	stop()
	if text := out.String(); !strings.HasPrefix(text, "\r…     token (0 s)") || !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("%q", text)
	}
}

func TestDoctorsJSONHasAlwaysTheSameKeys(t *testing.T) {
	_, stdout := consult(t, practice(t), "--json")
	var d map[string]any
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{"status": true, "version": true, "checks": true}
	if got := maps.Collect(func(yield func(string, bool) bool) {
		for key := range d {
			if !yield(key, true) {
				return
			}
		}
	}); !maps.Equal(got, keys) {
		t.Errorf("keys %v", got)
	}
	for _, check := range d["checks"].([]any) {
		fields := check.(map[string]any)
		for _, key := range []string{"name", "verdict", "detail", "mend"} {
			if _, ok := fields[key].(string); !ok || len(fields) != 4 {
				t.Errorf("check %v", fields)
			}
		}
	}
}
