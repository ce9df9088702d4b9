package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// setting is one line of the table that variables, flags, errors and help are
// made of.
type setting struct {
	name  string // as errors say it; CHANNEL_<NAME> and --<name> come from it
	value string // what help calls the value; empty: the flag takes none
	help  string
	apply func(r *rawConfig, value string) error
}

func (s setting) variable() string { return "CHANNEL_" + strings.ToUpper(s.name) }

func (s setting) flag() string { return "--" + strings.ReplaceAll(s.name, "_", "-") }

// settings are numbers and booleans first: theirs are the errors that come
// before all others.
var settings = [...]setting{
	{"codex_timeout_s", "SECONDS", "overall limit of a turn (1800)", duration(func(c *rawConfig) *time.Duration { return &c.TurnTimeout })},
	{"notify_on_orchestrator_error", "BOOL", "tell the person when a turn failed (true)", boolean(func(c *rawConfig) *bool { return &c.NotifyOnError })},
	{"codex_session_max", "N", "sessions kept in memory (128)", applySessionMax},
	{"codex_session_idle_ttl_s", "SECONDS", "how long an idle session is kept there (900)", duration(func(c *rawConfig) *time.Duration { return &c.SessionIdleTTL })},
	{"poll_interval_s", "SECONDS", "poll at this interval instead of long polls", applyPollInterval},
	{"long_poll_s", "SECONDS", "how long a poll waits for updates, up to 50; 0: not at all (25)", applyLongPoll},
	{"strict_cursor_state_io", "BOOL", "fail the cycle when the cursor file does (false)", boolean(func(c *rawConfig) *bool { return &c.StrictCursorState })},
	{"live_mode", "BOOL", "insist on an allowlist (false)", boolean(func(c *rawConfig) *bool { return &c.LiveMode })},
	{"once", "", "run one cycle, then exit", boolean(func(c *rawConfig) *bool { return &c.Once })},
	{"send_rate", "N", "messages a second over all chats; 0: no pacing (25)", applySendRate},
	{"insecure", "BOOL", "listen in plaintext beyond loopback (false)", boolean(func(c *rawConfig) *bool { return &c.Insecure })},
	{"token", "TOKEN", "the bot token", text(func(c *rawConfig) *string { return &c.token })},
	{"token_file", "PATH", "a file that holds it", text(func(c *rawConfig) *string { return &c.tokenFile })},
	{"mode", "poll", "how updates are fetched", text(func(c *rawConfig) *string { return &c.Mode })},
	{"ack_policy", "POLICY", "always or on-success (always)", text(func(c *rawConfig) *string { return &c.AckPolicy })},
	{"orchestrator_mode", "MODE", "codex, or default: echo (codex)", text(func(c *rawConfig) *string { return &c.OrchestratorMode })},
	{"allowed_chat_ids", "IDS", "comma-separated ids of the chats that may use the bot", text(func(c *rawConfig) *string { return &c.allowed })},
	{"cursor_state_path", "PATH", "the cursor file; empty: none", text(func(c *rawConfig) *string { return &c.CursorStatePath })},
	{"telegram_api_url", "URL", "base URL of the Bot API", text(func(c *rawConfig) *string { return &c.APIURL })},
	{"orchestrator_addr", "TARGETS", "comma-separated gRPC targets of the workers", applyOrchestratorAddr},
	{"store", "PATH", "the gateway's database (.channel_runtime/gateway.db)", text(func(c *rawConfig) *string { return &c.Store })},
	{"codex_sandbox_mode", "MODE", "read-only, workspace-write or danger-full-access", text(func(c *rawConfig) *string { return &c.SandboxMode })},
	{"codex_model", "MODEL", "the model Codex is asked for", text(func(c *rawConfig) *string { return &c.Model })},
	{"working_dir", "PATH", "where Codex works, on the worker", text(func(c *rawConfig) *string { return &c.WorkingDir })},
	{"listen_addr", "ADDR", "operator gRPC API; empty: none (127.0.0.1:7451)", text(func(c *rawConfig) *string { return &c.ListenAddr })},
	{"metrics_addr", "ADDR", "metrics and health; empty: none (127.0.0.1:9451)", text(func(c *rawConfig) *string { return &c.MetricsAddr })},
	{"heartbeat_url", "URL", "where failure events are posted; empty: nowhere", text(func(c *rawConfig) *string { return &c.HeartbeatURL })},
	{"log_level", "LEVEL", "debug, info, warn or error (info)", text(func(c *rawConfig) *string { return &c.LogLevel })},
}

// Usage lists the flags, one a line. Each has a variable of the same name:
// --ack-policy is CHANNEL_ACK_POLICY.
func Usage() string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "  %-40s %s\n", strings.TrimSpace(s.flag()+" "+s.value), s.help)
	}
	return b.String()
}

// flagValues reads "--name value", "--name=value" and "--once".
func flagValues(args []string) (map[string]string, error) {
	takesValue := map[string]bool{}
	for _, s := range settings {
		takesValue[s.flag()] = s.value != ""
	}
	given := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		wants, known := takesValue[name]
		switch {
		case args[i] == "--help" || args[i] == "-h":
			return nil, ErrHelp
		case !known:
			return nil, fmt.Errorf("unknown argument: %s", harmless(name))
		case inline:
		case !wants:
			value = "true"
		case i+1 == len(args) || strings.HasPrefix(args[i+1], "--"):
			return nil, fmt.Errorf("missing value for %s", name)
		default:
			i++
			value = args[i]
		}
		given[name] = value
	}
	return given, nil
}

// harmless keeps a word that may be a misplaced token out of an error.
func harmless(word string) string {
	if id, rest, ok := strings.Cut(word, ":"); ok && rest != "" && strings.Trim(id, "0123456789") == "" {
		return "<redacted>"
	}
	quoted := strconv.QuoteToGraphic(word)
	return quoted[1 : len(quoted)-1]
}

func text(field func(*rawConfig) *string) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) error {
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

func duration(field func(*rawConfig) *time.Duration) func(*rawConfig, string) error {
	return func(r *rawConfig, value string) error {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 {
			return errors.New("must be a positive number")
		}
		if seconds > maxSeconds {
			return fmt.Errorf("must be a positive number of at most %d seconds", maxSeconds)
		}
		*field(r) = max(time.Duration(seconds*float64(time.Second)), 1)
		return nil
	}
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

func applyOrchestratorAddr(r *rawConfig, value string) error {
	r.orchestrators, r.orchestratorsSet = value, true
	return nil
}

// splitList reads a comma-separated list; an empty text is an empty list.
func splitList(name, list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	values := strings.Split(list, ",")
	for i, value := range values {
		values[i] = strings.TrimSpace(value)
		if values[i] == "" {
			return nil, fmt.Errorf("%s must not contain empty values", name)
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
