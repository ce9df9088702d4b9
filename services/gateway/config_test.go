package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/internal/rpc"
)

const testToken = "1000000:AAHsecretsecretsecretsecretsecretse"

// with is an environment of what every configuration needs, and of the given
// variables on top; "-NAME" takes one away.
func with(pairs ...string) Lookup {
	env := map[string]string{"CHANNEL_TOKEN": testToken, "CHANNEL_ALLOWED_CHAT_IDS": "1000"}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if gone, ok := strings.CutPrefix(name, "-"); ok {
			delete(env, gone)
			continue
		}
		env[name] = value
	}
	return func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := ParseConfig(nil, with())
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Mode: "poll", AckPolicy: "always", OrchestratorMode: "codex", TurnTimeout: 30 * time.Minute, NotifyOnError: true,
		SessionMax: 128, KeepSettled: 100_000, SessionIdleTTL: 15 * time.Minute, WorkerLost: 2 * time.Minute, InterruptedWait: 10 * time.Minute, PollInterval: 2 * time.Second, LongPoll: 25 * time.Second,
		AllowedChatIDs: []string{"1000"}, CursorStatePath: ".channel_runtime/telegram_cursor_state.json",
		APIURL: "https://api.telegram.org", Store: ".channel_runtime/gateway.db", ListenAddr: "127.0.0.1:7451",
		MetricsAddr: "127.0.0.1:9451", SendRate: 25, LogLevel: "info",
		Access: rpc.ServerAccess{Prefix: "CHANNEL_"}, WorkerAccess: rpc.ClientAccess{Prefix: "CHANNEL_ORCHESTRATOR_"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Token")); diff != "" {
		t.Error(diff)
	}
	if got.Token() != testToken {
		t.Error("the token was not read")
	}
}

// Every word that the origin takes for a boolean is one, and no other.
func TestBooleansAreTheOriginsWords(t *testing.T) {
	t.Parallel()
	settings := map[string]func(Config) bool{
		"notify_on_orchestrator_error": func(c Config) bool { return c.NotifyOnError },
		"strict_cursor_state_io":       func(c Config) bool { return c.StrictCursorState },
		"live_mode":                    func(c Config) bool { return c.LiveMode },
		"once":                         func(c Config) bool { return c.Once },
	}
	for word, want := range map[string]bool{
		"1": true, "true": true, "yes": true, "on": true, "TRUE": true, "Yes": true, "oN": true, " true ": true, "\ton\n": true,
		"0": false, "false": false, "no": false, "off": false, "FALSE": false, "No": false, "oFF": false, " 0 ": false, "": false, " ": false,
	} {
		for name, field := range settings {
			got, err := ParseConfig(nil, with("CHANNEL_"+strings.ToUpper(name)+"="+word))
			if err != nil || field(got) != want {
				t.Errorf("%s=%q: %v, %v", name, word, field(got), err)
			}
			if name == "once" { // its flag has no word
				continue
			}
			got, err = ParseConfig([]string{"--" + strings.ReplaceAll(name, "_", "-"), word}, with())
			if err != nil || field(got) != want {
				t.Errorf("--%s %q: %v, %v", name, word, field(got), err)
			}
		}
	}
	for _, word := range []string{"2", "-1", "00", "01", "1.0", "t", "f", "y", "n", "enabled", "none", "null", "truee", "tru", "yes no", "wahr", "ｏｎ"} {
		for name := range settings {
			if _, err := ParseConfig(nil, with("CHANNEL_"+strings.ToUpper(name)+"="+word)); err == nil || err.Error() != name+" must be a boolean" {
				t.Errorf("%s=%q is taken, or refused with %v", name, word, err)
			}
		}
	}
}

func TestEverySettingIsReadFromFlagAndVariable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		field       func(Config) any
		want        any
	}{
		{"token", " 42:other ", func(c Config) any { return c.Token() }, "42:other"},
		{"mode", "poll", func(c Config) any { return c.Mode }, "poll"},
		{"ack_policy", "On-Success", func(c Config) any { return c.AckPolicy }, AckOnSuccess},
		{"orchestrator_mode", "default", func(c Config) any { return c.OrchestratorMode }, ModeDefault},
		{"codex_timeout_s", "0.001", func(c Config) any { return c.TurnTimeout }, time.Millisecond},
		{"notify_on_orchestrator_error", "OFF", func(c Config) any { return c.NotifyOnError }, false},
		{"otlp_endpoint", "https://collector:4317", func(c Config) any { return c.OTLPEndpoint }, "https://collector:4317"},
		{"pprof_addr", "localhost:6060", func(c Config) any { return c.PprofAddr }, "localhost:6060"},
		{"pprof_addr", "off", func(c Config) any { return c.PprofAddr }, ""},
		{"keep_settled", "1000", func(c Config) any { return c.KeepSettled }, 1000},
		{"codex_session_max", "1", func(c Config) any { return c.SessionMax }, 1},
		{"codex_session_idle_ttl_s", "1e2", func(c Config) any { return c.SessionIdleTTL }, 100 * time.Second},
		{"worker_lost_s", "0.5", func(c Config) any { return c.WorkerLost }, 500 * time.Millisecond},
		{"interrupted_wait_s", "90.5", func(c Config) any { return c.InterruptedWait }, 90500 * time.Millisecond},
		{"interrupted_wait_s", "0", func(c Config) any { return c.InterruptedWait }, time.Duration(0)},
		{"codex_session_idle_ttl_s", "2592000", func(c Config) any { return c.SessionIdleTTL }, 30 * 24 * time.Hour},
		{"codex_session_idle_ttl_s", "inf", func(c Config) any { return c.SessionIdleTTL }, 100 * 365 * 24 * time.Hour},
		{"poll_interval_s", "0.5", func(c Config) any { return [2]time.Duration{c.PollInterval, c.LongPoll} }, [2]time.Duration{500 * time.Millisecond, 0}},
		{"long_poll_s", "50", func(c Config) any { return c.LongPoll }, 50 * time.Second},
		{"allowed_chat_ids", "7, -100123 ,x", func(c Config) any { return c.AllowedChatIDs }, []string{"7", "-100123", "x"}},
		{"cursor_state_path", "", func(c Config) any { return c.CursorStatePath }, ""},
		{"strict_cursor_state_io", "yes", func(c Config) any { return c.StrictCursorState }, true},
		{"live_mode", "1", func(c Config) any { return c.LiveMode }, true},
		{"once", "on", func(c Config) any { return c.Once }, true},
		{"telegram_api_url", "http://127.0.0.1:8081/base", func(c Config) any { return c.APIURL }, "http://127.0.0.1:8081/base"},
		{"orchestrator_addr", "a:1, dns:///b:2", func(c Config) any { return c.OrchestratorAddrs }, []string{"a:1", "dns:///b:2"}},
		{"store", "/data/x.db", func(c Config) any { return c.Store }, "/data/x.db"},
		{"store", "postgresql://user@host/db", func(c Config) any { return c.Store }, "postgresql://user@host/db"},
		{"codex_sandbox_mode", "read-only", func(c Config) any { return c.SandboxMode }, "read-only"},
		{"codex_model", "org/gpt-5.1:x_y", func(c Config) any { return c.Model }, "org/gpt-5.1:x_y"},
		{"working_dir", "/srv/work", func(c Config) any { return c.WorkingDir }, "/srv/work"},
		{"listen_addr", "unix:///run/x.sock", func(c Config) any { return c.ListenAddr }, "unix:///run/x.sock"},
		{"orchestrator_addr", "", func(c Config) any { return c.OrchestratorAddrs }, []string(nil)},
		{"listen_addr", "off", func(c Config) any { return c.ListenAddr }, ""},
		{"metrics_addr", "", func(c Config) any { return c.MetricsAddr }, ""},
		{"metrics_addr", "off", func(c Config) any { return c.MetricsAddr }, ""},
		{"send_rate", "0", func(c Config) any { return c.SendRate }, 0.0},
		{"heartbeat_url", "https://host/hook?key=1", func(c Config) any { return c.HeartbeatURL }, "https://host/hook?key=1"},
		{"log_level", "debug", func(c Config) any { return c.LogLevel }, "debug"},
		{"insecure", "true", func(c Config) any { return c.Access.Insecure }, true},
		{"reflection", "false", func(c Config) any { return c.Access.NoReflection }, true},
		{"orchestrator_tls_ca_file", "system", func(c Config) any { return c.WorkerAccess.TLS.CA }, "system"},
		{"auth_token_file", "t", func(c Config) any { return c.Access.TokenFile }, "t"},
	} {
		s := setting{name: tt.name}
		flag := []string{s.flag(), tt.value}
		if tt.name == "once" {
			flag = flag[:1]
		}
		for source, parse := range map[string]func() (Config, error){
			"variable":           func() (Config, error) { return ParseConfig(nil, with(s.variable()+"="+tt.value)) },
			"flag":               func() (Config, error) { return ParseConfig(flag, with()) },
			"flag over variable": func() (Config, error) { return ParseConfig(flag, with(s.variable()+"=overridden")) },
			"flag with =":        func() (Config, error) { return ParseConfig([]string{s.flag() + "=" + tt.value}, with()) },
		} {
			t.Run(tt.name+" by "+source, func(t *testing.T) {
				got, err := parse()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, tt.field(got)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const whole = "telecodex_test_whole_line"
	for _, tt := range []struct {
		name string
		args []string
		env  Lookup
		want string
	}{
		{"no token", nil, with("-CHANNEL_TOKEN"), "token must be a non-empty string"},
		{"blank token", nil, with("CHANNEL_TOKEN=  "), "token must be a non-empty string"},
		{"mode", nil, with("CHANNEL_MODE=webhook"), "mode must be 'poll' for TG-P0"},
		{"mode in capitals", nil, with("CHANNEL_MODE=POLL"), "mode must be 'poll' for TG-P0"},
		{"mode set but empty", nil, with("CHANNEL_MODE="), "mode must be 'poll' for TG-P0"},
		{"ack policy", []string{"--ack-policy", "never"}, with(), "ack_policy must be 'always' or 'on-success'"},
		{"ack policy set but empty", nil, with("CHANNEL_ACK_POLICY="), "ack_policy must be 'always' or 'on-success'"},
		{"orchestrator mode", nil, with("CHANNEL_ORCHESTRATOR_MODE=Codex"), "orchestrator_mode must be 'default' or 'codex'"},
		{"orchestrator mode set but empty", nil, with("CHANNEL_ORCHESTRATOR_MODE="), "orchestrator_mode must be 'default' or 'codex'"},
		{"idle time set but empty", nil, with("CHANNEL_CODEX_SESSION_IDLE_TTL_S="), "codex_session_idle_ttl_s must be a positive number"},
		{"interval set but empty", nil, with("CHANNEL_POLL_INTERVAL_S="), "poll_interval_s must be a positive number"},
		{"session max set but empty", nil, with("CHANNEL_CODEX_SESSION_MAX="), "codex_session_max must be an integer >= 1"},
		{"an empty number by flag", []string{"--codex-timeout-s", ""}, with(), "codex_timeout_s must be a positive number"},
		{"booleans before the token", nil, with("-CHANNEL_TOKEN", "CHANNEL_LIVE_MODE=maybe"), "live_mode must be a boolean"},
		{"a boolean without its word", []string{"--live-mode"}, with(), "missing value for --live-mode"},
		{"a word after a flag that takes none", []string{"--once", "true"}, with(), "unknown argument: true"},
		{"timeout", nil, with("CHANNEL_CODEX_TIMEOUT_S=0"), "codex_timeout_s must be a positive number"},
		{"timeout set but empty", nil, with("CHANNEL_CODEX_TIMEOUT_S="), "codex_timeout_s must be a positive number"},
		{"timeout not a number", nil, with("CHANNEL_CODEX_TIMEOUT_S=nan"), "codex_timeout_s must be a positive number"},
		{"timeout of a year", nil, with("CHANNEL_CODEX_TIMEOUT_S=3e7"), "codex_timeout_s must be a positive number of at most 604800 seconds"},
		{"idle time", nil, with("CHANNEL_CODEX_SESSION_IDLE_TTL_S=-1"), "codex_session_idle_ttl_s must be a positive number"},
		{"interval", nil, with("CHANNEL_POLL_INTERVAL_S=often"), "poll_interval_s must be a positive number"},
		{"session max", nil, with("CHANNEL_CODEX_SESSION_MAX=0"), "codex_session_max must be an integer >= 1"},
		{"collector", nil, with("CHANNEL_OTLP_ENDPOINT=collector:4317"), "otlp_endpoint must be http://host:port or https://host:port"},
		{"profiles for others", nil, with("CHANNEL_PPROF_ADDR=0.0.0.0:6060", "CHANNEL_INSECURE=true"), "pprof_addr must be host:port on loopback, or unix://path: profiles are not for other machines"},
		{"too little kept", nil, with("CHANNEL_KEEP_SETTLED=999"), "keep_settled must be an integer >= 1000"},
		{"session max with a fraction", nil, with("CHANNEL_CODEX_SESSION_MAX=1.5"), "codex_session_max must be an integer >= 1"},
		{"notify", nil, with("CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=maybe"), "notify_on_orchestrator_error must be a boolean"},
		{"strict", nil, with("CHANNEL_STRICT_CURSOR_STATE_IO=2"), "strict_cursor_state_io must be a boolean"},
		{"live mode", []string{"--live-mode", "y"}, with(), "live_mode must be a boolean"},
		{"once", nil, with("CHANNEL_ONCE=x"), "once must be a boolean"},
		{"numbers before the token", nil, with("-CHANNEL_TOKEN", "CHANNEL_SEND_RATE=fast"), "send_rate must be a number >= 0"},
		{"empty chat ids before the token", nil, with("-CHANNEL_TOKEN", "CHANNEL_ALLOWED_CHAT_IDS=1,,2"), "allowed_chat_ids must not contain empty values"},
		{"empty chat ids before the booleans", nil, with("CHANNEL_ALLOWED_CHAT_IDS=,", "CHANNEL_LIVE_MODE=x"), "allowed_chat_ids must not contain empty values"},
		{"numbers before empty chat ids", nil, with("CHANNEL_ALLOWED_CHAT_IDS=,", "CHANNEL_POLL_INTERVAL_S=x"), "poll_interval_s must be a positive number"},
		{"token before the modes", nil, with("-CHANNEL_TOKEN", "CHANNEL_MODE=x"), "token must be a non-empty string"},
		{"empty chat id", nil, with("CHANNEL_ALLOWED_CHAT_IDS=1,,2"), "allowed_chat_ids must not contain empty values"},
		{"empty chat id at the end", nil, with("CHANNEL_ALLOWED_CHAT_IDS=1, "), "allowed_chat_ids must not contain empty values"},
		{"nobody in live mode", nil, with("-CHANNEL_ALLOWED_CHAT_IDS", "CHANNEL_LIVE_MODE=true", "CHANNEL_ORCHESTRATOR_MODE=default"),
			"allowed_chat_ids must be non-empty when live_mode is enabled"},
		{"nobody in codex mode", nil, with("CHANNEL_ALLOWED_CHAT_IDS="),
			"allowed_chat_ids must be non-empty when orchestrator_mode is 'codex': name the chats that may use the bot"},
		{"unknown flag", []string{"--verbose"}, with(), "unknown argument: --verbose"},
		{"unknown flag with a value", []string{"--tokn=" + testToken}, with(), "unknown argument: --tokn"},
		{"a word", []string{"run"}, with(), "unknown argument: run"},
		{"a misplaced token", []string{testToken}, with(), "unknown argument: <redacted>"},
		{"an odd word", []string{"a\nb"}, with(), `unknown argument: a\nb`},
		{"no value", []string{"--mode"}, with(), "missing value for --mode"},
		{"no value before a flag", []string{"--token", "--once"}, with(), "missing value for --token"},
		{"long poll", nil, with("CHANNEL_LONG_POLL_S=51"), "long_poll_s must be an integer between 0 and 50"},
		{"send rate", nil, with("CHANNEL_SEND_RATE=-1"), "send_rate must be a number >= 0"},
		{"endless send rate", nil, with("CHANNEL_SEND_RATE=inf"), "send_rate must be a number >= 0"},
		{"workers", nil, with("CHANNEL_ORCHESTRATOR_ADDR=a:1,"), "orchestrator_addr must not contain empty values"},
		{"token twice in the environment", nil, with("CHANNEL_TOKEN_FILE=token.txt"), "token and token_file are both given: give one of them"},
		{"token twice by flags", []string{"--token", "1:x", "--token-file", "token.txt"}, with(), "token and token_file are both given: give one of them"},
		{"store", nil, with("CHANNEL_STORE="), "store must be the path of a SQLite file or a postgres:// URL"},
		{"store elsewhere", nil, with("CHANNEL_STORE=mysql://user:SECRET@host/db"), "store must be the path of a SQLite file or a postgres:// URL"},
		{"store with a parameter that is none", nil, with("CHANNEL_STORE=postgres://user:SECRET@host/db?sslmode=perhaps"),
			"store is not usable: the PostgreSQL URL cannot be used: check host, port, database and parameters (sslmode=…)"},
		{"store with a bad URL", nil, with("CHANNEL_STORE=postgres://user:SEC RET@host/db"),
			"store is not usable: the PostgreSQL URL cannot be used: it is no URL; what is special in a user name or password must be percent-encoded"},
		{"sandbox", nil, with("CHANNEL_CODEX_SANDBOX_MODE=none"), "codex_sandbox_mode must be 'read-only', 'workspace-write' or 'danger-full-access'"},
		{"model", nil, with("CHANNEL_CODEX_MODEL=a b"), "codex_model must be at most 128 characters of A-Z, a-z, 0-9 and ._:/-"},
		{"long model", nil, with("CHANNEL_CODEX_MODEL=" + strings.Repeat("m", 129)), "codex_model must be at most 128 characters of A-Z, a-z, 0-9 and ._:/-"},
		{"working dir", nil, with("CHANNEL_WORKING_DIR=work"), "working_dir must be an absolute path"},
		{"API URL", nil, with("CHANNEL_TELEGRAM_API_URL=https://u:SECRET@host"), "telegram_api_url must be http(s)://host[:port][/path]"},
		{"API URL that is none", nil, with("CHANNEL_TELEGRAM_API_URL=://SECRET"), "telegram_api_url must be http(s)://host[:port][/path]"},
		{"heartbeat", nil, with("CHANNEL_HEARTBEAT_URL=ftp://SECRET"), "heartbeat_url must be http(s)://host[:port][/path]"},
		{"log level", nil, with("CHANNEL_LOG_LEVEL=loud"), "log_level must be debug, info, warn or error"},
		{"listen address", nil, with("CHANNEL_LISTEN_ADDR=0.0.0.0:7451"), "0.0.0.0:7451 is reachable from other machines and the " +
			"connection is not encrypted: listen on 127.0.0.1, give a certificate (CHANNEL_TLS_CERT_FILE), or set CHANNEL_INSECURE=true where the network is trusted"},
		{"certificate without its key", nil, with("CHANNEL_TLS_CERT_FILE=a.pem"), "CHANNEL_TLS_CERT_FILE and CHANNEL_TLS_KEY_FILE belong together: give both of them or none"},
		{"names of callers without an authority", nil, with("CHANNEL_TLS_CERT_FILE=a.pem", "CHANNEL_TLS_KEY_FILE=a.key", "CHANNEL_TLS_CLIENT_NAMES=ann"),
			"CHANNEL_TLS_CLIENT_NAMES is given without CHANNEL_TLS_CLIENT_CA_FILE: nobody vouches for the names"},
		{"names of callers", nil, with("CHANNEL_TLS_CLIENT_NAMES=ann,,bob"), "tls_client_names must not contain empty values"},
		{"token of callers in the clear", nil, with("CHANNEL_LISTEN_ADDR=0.0.0.0:7451", "CHANNEL_INSECURE=true", "CHANNEL_AUTH_TOKEN_FILE=t"),
			"CHANNEL_AUTH_TOKEN_FILE is given, but callers show no token in the clear: give CHANNEL_TLS_CERT_FILE too, or listen on 127.0.0.1 or unix://path"},
		{"certificate for workers without their authority", nil, with("CHANNEL_ORCHESTRATOR_TLS_CERT_FILE=a.pem", "CHANNEL_ORCHESTRATOR_TLS_KEY_FILE=a.key"),
			"CHANNEL_ORCHESTRATOR_TLS_CA_FILE must be given too: it says who may sign the servers' certificates (a file, or system)"},
		{"token for a worker in the clear", nil, with("CHANNEL_ORCHESTRATOR_ADDR=127.0.0.1:1,dns:///workers:7450", "CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE=t"),
			"CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE: the token would cross the network to dns:///workers:7450 in the clear: use TLS: give CHANNEL_ORCHESTRATOR_TLS_CA_FILE"},
		{"reflection", nil, with("CHANNEL_REFLECTION=perhaps"), "reflection must be a boolean"},
		{"memory hook", nil, with("CHANNEL_ENABLE_MEMORY_HOOK=x"), "enable_memory_hook must be a boolean"},
		{"token file", nil, with("-CHANNEL_TOKEN", "CHANNEL_TOKEN_FILE="+filepath.Join(t.TempDir(), whole)), "token_file cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig(tt.args, tt.env)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if got := err.Error(); got != tt.want && !(tt.name == "token file" && strings.HasPrefix(got, tt.want)) {
				t.Errorf("error = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTokenIsReadFromAFile(t *testing.T) {
	t.Parallel()
	write := func(text string) Lookup {
		t.Helper()
		name := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return with("-CHANNEL_TOKEN", "CHANNEL_TOKEN_FILE="+name)
	}
	got, err := ParseConfig(nil, write(testToken+"\r\n"))
	if err != nil || got.Token() != testToken {
		t.Errorf("token = %v", err)
	}
	for name, text := range map[string]string{
		"empty": " \n", "two lines": testToken + "\nx\n", "large": strings.Repeat("x", 5000),
	} {
		if _, err := ParseConfig(nil, write(text)); err == nil || strings.Contains(err.Error(), testToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFlagForTheTokenOutweighsEitherVariable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("42:file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args     []string
		env      Lookup
		token    string
		fromFile bool
	}{
		"the file's over the variable of the token":  {[]string{"--token-file", file}, with(), "42:file", true},
		"the token's over the variable of the file":  {[]string{"--token", "42:flag"}, with("-CHANNEL_TOKEN", "CHANNEL_TOKEN_FILE="+file+"x"), "42:flag", false},
		"an empty one leaves it to the other's":      {[]string{"--token="}, with("CHANNEL_TOKEN_FILE=" + file), "42:file", true},
		"an empty variable is no second source":      {nil, with("CHANNEL_TOKEN=", "CHANNEL_TOKEN_FILE="+file), "42:file", true},
		"nor is an empty variable of the token file": {nil, with("CHANNEL_TOKEN_FILE="), testToken, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConfig(tt.args, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if got.Token() != tt.token || (got.TokenFile != "") != tt.fromFile {
				t.Errorf("token of %q, file %q", got.Token(), got.TokenFile)
			}
		})
	}
}

func TestAnExplicitLongPollOutweighsAnInterval(t *testing.T) {
	t.Parallel()
	got, err := ParseConfig([]string{"--long-poll-s", "10"}, with("CHANNEL_POLL_INTERVAL_S=1"))
	if err != nil || got.LongPoll != 10*time.Second || got.PollInterval != time.Second {
		t.Errorf("got %v, %v, %v", got.LongPoll, got.PollInterval, err)
	}
}

func TestEchoModeAcceptsAnEmptyAllowlist(t *testing.T) {
	t.Parallel()
	got, err := ParseConfig(nil, with("-CHANNEL_ALLOWED_CHAT_IDS", "CHANNEL_ORCHESTRATOR_MODE=default"))
	if err != nil || len(got.AllowedChatIDs) != 0 {
		t.Errorf("got %v, %v", got.AllowedChatIDs, err)
	}
}

func TestMemoryHookIsReportedAsUnsupported(t *testing.T) {
	t.Parallel()
	for value, warnings := range map[string]int{"true": 1, "0": 0, "": 0} {
		got, err := ParseConfig(nil, with("CHANNEL_ENABLE_MEMORY_HOOK="+value))
		if err != nil || len(got.Warnings) != warnings {
			t.Errorf("%q: %v, %v", value, got.Warnings, err)
		}
	}
}

func TestAPrintedConfigDoesNotShowTheToken(t *testing.T) {
	t.Parallel()
	c, err := ParseConfig(nil, with())
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, &c} {
			text := fmt.Sprintf(verb, value)
			for _, secret := range []string{testToken, fmt.Sprintf("%x", testToken), "secretsecret"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows the token", verb)
				}
			}
		}
	}
}

func TestHelpAndVersionAreAskedFor(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]error{"-h": command.ErrHelp, "--help": command.ErrHelp, "--version": command.ErrVersion} {
		if _, err := ParseConfig([]string{"--once", word}, with()); !errors.Is(err, want) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// The defaults that help shows are the ones that hold: what it says is read as if
// it had been given.
func TestDefaultsOfHelpAreTheDefaults(t *testing.T) {
	t.Parallel()
	want, err := ParseConfig(nil, with())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		switch s.name {
		case "poll_interval_s", "orchestrator_addr", "codex_sandbox_mode", "codex_model", "working_dir": // explained, not quoted
			continue
		}
		if s.unset == "" {
			continue
		}
		got, err := ParseConfig([]string{s.flag() + "=" + s.unset}, with())
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Token")); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("--once\x00--mode\x00poll", "CHANNEL_POLL_INTERVAL_S", "1")
	f.Add("--allowed-chat-ids\x00-1,2", "CHANNEL_LISTEN_ADDR", "[::]:1")
	f.Add("--token="+testToken, "CHANNEL_SEND_RATE", "1e309")
	f.Add("", "CHANNEL_CODEX_TIMEOUT_S", "0x1p-1074")
	f.Fuzz(func(t *testing.T, args, name, value string) {
		if name == "CHANNEL_TOKEN_FILE" || strings.Contains(args, "--token-file") {
			return // it would read files
		}
		words := strings.Split(args, "\x00")
		if args == "" {
			words = nil
		}
		c, err := ParseConfig(words, with(name+"="+value))
		if err != nil {
			var report map[string]string
			if json.Unmarshal(refusal.Line(err), &report) != nil || report["error"] == "" {
				t.Errorf("report of %q", err)
			}
			return
		}
		if c.Token() == "" || c.TurnTimeout <= 0 || c.SessionIdleTTL <= 0 || c.PollInterval <= 0 || c.SessionMax < 1 ||
			c.LongPoll < 0 || c.LongPoll > 50*time.Second || c.SendRate < 0 ||
			c.OrchestratorMode == ModeCodex && len(c.AllowedChatIDs) == 0 {
			t.Errorf("accepted: %+v", c)
		}
	})
}
