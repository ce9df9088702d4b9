package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"telecodex.dev/services/internal/command"
)

// setting is one line of the table that variables, flags, errors, help and
// completion are made of.
type setting struct {
	name  string // as errors say it; CHANNEL_<NAME> and --<name> come from it
	value string // what help calls the value, with its unit; empty: the flag takes none
	unset string // what help calls the default; empty: none
	help  string
	apply func(r *rawConfig, value string) error
	words []string // what the value can be, where that can be listed
}

func (s setting) variable() string { return "CHANNEL_" + strings.ToUpper(s.name) }

func (s setting) flag() string { return "--" + strings.ReplaceAll(s.name, "_", "-") }

// settings are numbers, booleans and the allowlist first: theirs are the errors
// that come before all others.
var settings = [...]setting{
	{"codex_timeout_s", "SECONDS", "1800", "overall limit of a turn", applyTurnTimeout, nil},
	{"notify_on_orchestrator_error", command.Bool, "true", "tell the person when a turn failed", boolean(func(c *rawConfig) *bool { return &c.NotifyOnError }), nil},
	{"codex_session_max", "N", "128", "sessions kept in memory", applySessionMax, nil},
	{"codex_session_idle_ttl_s", "SECONDS", "900", "how long an idle session is kept there", duration(func(c *rawConfig) *time.Duration { return &c.SessionIdleTTL }), nil},
	{"interrupted_wait_s", "SECONDS", "600", "how long an interrupted turn holds back what waited for it; 0: not at all", applyInterruptedWait, nil},
	{"keep_settled", "N", "100000", "settled updates kept in the store, for 30 days at most", applyKeepSettled, nil},
	{"worker_lost_s", "SECONDS", "120", "how long a worker may be away before others get what it was to do", duration(func(c *rawConfig) *time.Duration { return &c.WorkerLost }), nil},
	{"poll_interval_s", "SECONDS", "2, between short polls", "poll at this interval instead of long polls", applyPollInterval, nil},
	{"long_poll_s", "SECONDS", "25", "how long a poll waits for updates, up to 50; 0: not at all", applyLongPoll, nil},
	{"allowed_chat_ids", "IDS", "", "comma-separated ids of the chats that may use the bot", applyAllowlist, nil},
	{"strict_cursor_state_io", command.Bool, "false", "fail the cycle when the cursor file does", boolean(func(c *rawConfig) *bool { return &c.StrictCursorState }), nil},
	{"live_mode", command.Bool, "false", "insist on an allowlist", boolean(func(c *rawConfig) *bool { return &c.LiveMode }), nil},
	{"once", "", "false", "run one cycle, then exit", boolean(func(c *rawConfig) *bool { return &c.Once }), nil},
	{"send_rate", "N", "25", "messages a second over all chats; 0: no pacing", applySendRate, nil},
	{"insecure", command.Bool, "false", "listen in plaintext beyond loopback", boolean(func(c *rawConfig) *bool { return &c.Access.Insecure }), nil},
	{"token", "TOKEN", "", "the bot token; a variable or a file hides it better than a flag", text(func(c *rawConfig) *string { return &c.token }), nil},
	{"token_file", command.Path, "", "a file that holds the bot token and nothing else", text(func(c *rawConfig) *string { return &c.tokenFile }), nil},
	{"mode", "MODE", "poll", "how updates are fetched", text(func(c *rawConfig) *string { return &c.Mode }), []string{"poll"}},
	{"ack_policy", "POLICY", "always", "whether an update counts as settled whatever became of it, or only on success", text(func(c *rawConfig) *string { return &c.AckPolicy }), []string{AckAlways, AckOnSuccess}},
	{"orchestrator_mode", "MODE", "codex", "what answers: Codex, or by default an echo, which is the rollback mode", text(func(c *rawConfig) *string { return &c.OrchestratorMode }), []string{ModeCodex, ModeDefault}},
	{"cursor_state_path", command.Path, ".channel_runtime/telegram_cursor_state.json", "the cursor file; empty: none", text(func(c *rawConfig) *string { return &c.CursorStatePath }), nil},
	{"telegram_api_url", "URL", "https://api.telegram.org", "base URL of the Bot API", text(func(c *rawConfig) *string { return &c.APIURL }), nil},
	{"orchestrator_addr", "TARGETS", "127.0.0.1:7450; in telecodex the worker in its own process", "comma-separated gRPC targets of the workers; empty: the default", text(func(c *rawConfig) *string { return &c.orchestrators }), nil},
	{"store", command.Path, ".channel_runtime/gateway.db", "the gateway's database: a SQLite file, or a postgres:// URL", text(func(c *rawConfig) *string { return &c.Store }), nil},
	{"codex_sandbox_mode", "MODE", "the worker's", "the sandbox that turns ask for", text(func(c *rawConfig) *string { return &c.SandboxMode }), []string{"read-only", "workspace-write", "danger-full-access"}},
	{"codex_model", "MODEL", "Codex's own", "the model that turns ask for", text(func(c *rawConfig) *string { return &c.Model }), nil},
	{"working_dir", command.Dir, "one for each session", "where Codex works, on the worker; beneath one of its ORCHESTRATOR_WORKSPACE_ROOTS", text(func(c *rawConfig) *string { return &c.WorkingDir }), nil},
	{"listen_addr", "ADDR", "127.0.0.1:7451", "operator gRPC API, host:port or unix://path; off or empty: none", address(func(c *rawConfig) *string { return &c.ListenAddr }), nil},
	{"metrics_addr", "ADDR", "127.0.0.1:9451", "metrics and health; off or empty: none", address(func(c *rawConfig) *string { return &c.MetricsAddr }), nil},
	{"tls_cert_file", command.Path, "", "certificate of the operator API (PEM); empty: no TLS", text(func(c *rawConfig) *string { return &c.Access.TLS.Cert }), nil},
	{"tls_key_file", command.Path, "", "its key", text(func(c *rawConfig) *string { return &c.Access.TLS.Key }), nil},
	{"tls_client_ca_file", command.Path, "", "who signs the certificates that its callers must show; empty: they show none", text(func(c *rawConfig) *string { return &c.Access.TLS.ClientCA }), nil},
	{"tls_client_names", "NAMES", "", "callers that are let in, by a name in their certificates, comma-separated; empty: all whose certificate is signed so", applyClientNames, nil},
	{"auth_token_file", command.Path, "", "tokens of which calls of the operator API must show one, one a line; empty: none", text(func(c *rawConfig) *string { return &c.Access.TokenFile }), nil},
	{"reflection", command.Bool, "true", "let callers list the services and their messages", boolean(func(c *rawConfig) *bool { return &c.reflection }), nil},
	{"orchestrator_tls_ca_file", command.Path, "", "who signs the workers' certificates (PEM), or system: whom this machine trusts; empty: workers are called without TLS", text(func(c *rawConfig) *string { return &c.WorkerAccess.TLS.CA }), nil},
	{"orchestrator_tls_cert_file", command.Path, "", "certificate that workers are shown (PEM); empty: none", text(func(c *rawConfig) *string { return &c.WorkerAccess.TLS.Cert }), nil},
	{"orchestrator_tls_key_file", command.Path, "", "its key", text(func(c *rawConfig) *string { return &c.WorkerAccess.TLS.Key }), nil},
	{"orchestrator_tls_server_name", "NAME", "", "name in the workers' certificates; empty: the one that is dialed, of dns:/// targets too", text(func(c *rawConfig) *string { return &c.WorkerAccess.TLS.ServerName }), nil},
	{"orchestrator_auth_token_file", command.Path, "", "token that workers are shown; empty: none", text(func(c *rawConfig) *string { return &c.WorkerAccess.TokenFile }), nil},
	{"heartbeat_url", "URL", "", "where failure events are posted; empty: nowhere", text(func(c *rawConfig) *string { return &c.HeartbeatURL }), nil},
	{"otlp_endpoint", "URL", "", "an OpenTelemetry collector that traces are sent to, over gRPC: http://host:port, or https:// for TLS; empty: nowhere", text(func(c *rawConfig) *string { return &c.OTLPEndpoint }), nil},
	{"pprof_addr", "ADDR", "off", "profiles of the running program, on loopback or unix://path only; off: none", address(func(c *rawConfig) *string { return &c.PprofAddr }), nil},
	{"log_level", "LEVEL", "info", "how much is logged, on standard error", text(func(c *rawConfig) *string { return &c.LogLevel }), []string{"debug", "info", "warn", "error"}},
}

// Flags are the settings as a command's table has them.
func Flags() []command.Flag {
	flags := make([]command.Flag, len(settings))
	for i, s := range settings {
		flags[i] = command.Flag{Name: s.flag(), Variable: s.variable(), Value: s.value, Default: s.unset, Words: s.words, Help: s.help}
	}
	return flags
}

func text(field func(*rawConfig) *string) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) error {
		*field(r) = value
		return nil
	}
}

// address is where to listen, or nowhere: "off" means the same as in the worker's
// settings, where an empty variable is the default.
func address(field func(*rawConfig) *string) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) error {
		if value == "off" {
			value = ""
		}
		*field(r) = value
		return nil
	}
}

func boolean(field func(*rawConfig) *bool) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) (err error) {
		*field(r), err = parseBool(value)
		return err
	}
}

func parseBool(value string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off", "":
		return false, nil
	}
	return false, errors.New("must be a boolean")
}

// maxSeconds is the longest limit a worker accepts: 7 days.
const maxSeconds = 7 * 24 * 3600

// maxDuration stands for whatever is longer, infinity included: a century.
const maxDuration = 100 * 365 * 24 * time.Hour

func duration(field func(*rawConfig) *time.Duration) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) error {
		seconds, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(seconds) || seconds <= 0:
			return errors.New("must be a positive number")
		case seconds > maxDuration.Seconds():
			*field(r) = maxDuration
		default:
			*field(r) = max(time.Duration(seconds*float64(time.Second)), 1)
		}
		return nil
	}
}

func applyTurnTimeout(r *rawConfig, value string) error {
	if err := duration(func(r *rawConfig) *time.Duration { return &r.TurnTimeout })(r, value); err != nil {
		return err
	}
	if r.TurnTimeout > maxSeconds*time.Second {
		return fmt.Errorf("must be a positive number of at most %d seconds", maxSeconds)
	}
	return nil
}

func applyAllowlist(r *rawConfig, value string) (err error) {
	r.AllowedChatIDs, err = splitList(value)
	return err
}

func applyInterruptedWait(r *rawConfig, value string) error {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxSeconds {
		return fmt.Errorf("must be a number between 0 and %d", maxSeconds)
	}
	r.InterruptedWait = time.Duration(n * float64(time.Second))
	return nil
}

func applyPollInterval(r *rawConfig, value string) error {
	r.pollIntervalGiven = true
	return duration(func(r *rawConfig) *time.Duration { return &r.PollInterval })(r, value)
}

func applySessionMax(r *rawConfig, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return errors.New("must be an integer >= 1")
	}
	r.SessionMax = n
	return nil
}

// leastKept is many times what Telegram sends at once: what was only just settled
// is not forgotten.
const leastKept = 1000

func applyKeepSettled(r *rawConfig, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < leastKept {
		return fmt.Errorf("must be an integer >= %d", leastKept)
	}
	r.KeepSettled = n
	return nil
}

// maxLongPoll is Telegram's own bound on getUpdates' timeout, in seconds.
const maxLongPoll = 50

func applyLongPoll(r *rawConfig, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxLongPoll {
		return fmt.Errorf("must be an integer between 0 and %d", maxLongPoll)
	}
	r.longPollSet = true
	r.LongPoll = time.Duration(n) * time.Second
	return nil
}

func applySendRate(r *rawConfig, value string) error {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return errors.New("must be a number >= 0")
	}
	r.SendRate = n
	return nil
}

// splitList reads a comma-separated list; an empty text is an empty list.
func splitList(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	values := strings.Split(list, ",")
	for i, value := range values {
		values[i] = strings.TrimSpace(value)
		if values[i] == "" {
			return nil, errors.New("must not contain empty values")
		}
	}
	return values, nil
}

// httpURL reads an absolute http(s) URL. Nothing of it is ever put into an
// error: people paste URLs with secrets in them.
func httpURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
