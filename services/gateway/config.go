package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/profiling"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/tracing"
)

// Values of Config.AckPolicy and Config.OrchestratorMode.
const (
	AckAlways    = "always"     // an update is settled whatever became of it
	AckOnSuccess = "on-success" // not while its turn could not start or its answer not be sent

	ModeDefault = "default" // answers "echo: <text>"; no worker is ever dialed
	ModeCodex   = "codex"
)

// DefaultOrchestratorAddr is the worker of a gateway that names none.
const DefaultOrchestratorAddr = "127.0.0.1:7450"

// Config is what a gateway is told at its start. ParseConfig makes one from
// flags and environment; the fields below the line are the caller's to set.
type Config struct {
	// Token gives the bot token. It is a function so that no printed Config
	// shows it.
	Token             func() string
	TokenFile         string        // where it was read; empty: not from a file
	Mode              string        // "poll"
	AckPolicy         string        // AckAlways or AckOnSuccess
	OrchestratorMode  string        // ModeCodex or ModeDefault
	TurnTimeout       time.Duration // overall limit of a turn, at most 7 days
	NotifyOnError     bool          // tell the person when a turn failed
	SessionMax        int           // sessions kept in memory, at least 1
	SessionIdleTTL    time.Duration // for how long after their last turn
	KeepSettled       int           // settled updates kept in the store, at least 1000; 0: the default
	WorkerLost        time.Duration // for how long a worker may be away; 0: for ever
	InterruptedWait   time.Duration // for how long what waited is held back, at most 7 days; 0: not at all
	PollInterval      time.Duration // between short polls
	LongPoll          time.Duration // whole seconds up to 50 s; 0: short polls
	AllowedChatIDs    []string
	CursorStatePath   string // empty: no cursor file
	StrictCursorState bool   // a cursor file that fails makes the cycle fail
	LiveMode          bool
	Once              bool             // one cycle, then exit
	APIURL            string           // base URL of the Bot API
	OrchestratorAddrs []string         // gRPC targets; nil: none named, see DefaultOrchestratorAddr
	Store             string           // path of the SQLite file, or a postgres:// URL with a password in it
	SandboxMode       string           // sent with each turn; empty: the worker's
	Model             string           // sent with each turn; empty: Codex's own
	WorkingDir        string           // sent with each turn; empty: the session's own directory
	ListenAddr        string           // operator API; empty: none
	MetricsAddr       string           // empty: none
	SendRate          float64          // messages a second over all chats; 0: no pacing
	HeartbeatURL      string           // empty: none
	OTLPEndpoint      string           // where traces are sent; empty: nowhere
	PprofAddr         string           // of profiles, on loopback; empty: none
	LogLevel          string           // debug, info, warn or error
	Access            rpc.ServerAccess // who may call the operator API
	WorkerAccess      rpc.ClientAccess // how workers are called; Dialer's need nothing
	// Warnings are settings that were understood but have no effect, one line
	// each.
	Warnings []string

	Stdout   io.Writer    // cycle reports, one JSON object a line
	Log      *zap.Logger  // nil: none
	Dialer   rpc.Dialer   // to the workers; nil: the network
	Listener net.Listener // of the operator API; nil: at ListenAddr
	// LeaseTTL is how long a gateway may be silent before another one takes the bot
	// over; 0: 15 s, as all gateways of a store have it. Tests shorten it.
	LeaseTTL time.Duration
}

// Lookup reads the environment: a variable that is set but empty is not one that
// is unset.
type Lookup = lifecycle.Lookup

// ParseConfig reads the configuration: flag over environment over default. Its
// errors are one line for a person, name the setting and never quote a secret;
// command.ErrHelp and command.ErrVersion are what the arguments ask for instead.
func ParseConfig(args []string, lookup Lookup) (Config, error) {
	given, err := Manual().Parse(args)
	if err != nil {
		return Config{}, err
	}
	return NewConfig(given, lookup)
}

// NewConfig is ParseConfig for flags that were read already; what it does not
// know among them is not its business.
func NewConfig(given command.Values, lookup Lookup) (Config, error) {
	raw, err := read(given, lookup)
	if err == nil {
		err = raw.finish(lookup)
	}
	if err != nil {
		return Config{}, err
	}
	return *raw.Config, nil
}

// read takes every setting from where it is given, and judges each by itself.
func read(given command.Values, lookup Lookup) (rawConfig, error) {
	c := defaults()
	raw := rawConfig{Config: &c, reflection: true}
	for _, s := range settings {
		value, set := given[s.flag()]
		if !set {
			value, set = lookup(s.variable())
		}
		if !set {
			continue
		}
		if err := s.apply(&raw, strings.TrimSpace(value)); err != nil {
			return raw, fmt.Errorf("%s %w", s.name, err)
		}
	}
	c.Access.NoReflection = !raw.reflection
	_, raw.tokenByFlag = given["--token"]
	_, raw.tokenFileByFlag = given["--token-file"]
	return raw, nil
}

func defaults() Config {
	return Config{
		Mode:             "poll",
		AckPolicy:        AckAlways,
		OrchestratorMode: ModeCodex,
		TurnTimeout:      1800 * time.Second,
		NotifyOnError:    true,
		SessionMax:       128,
		KeepSettled:      100_000,
		SessionIdleTTL:   900 * time.Second,
		WorkerLost:       120 * time.Second,
		InterruptedWait:  600 * time.Second,
		PollInterval:     2 * time.Second,
		LongPoll:         25 * time.Second,
		CursorStatePath:  ".channel_runtime/telegram_cursor_state.json",
		APIURL:           "https://api.telegram.org",
		Store:            ".channel_runtime/gateway.db",
		ListenAddr:       "127.0.0.1:7451",
		MetricsAddr:      "127.0.0.1:9451",
		SendRate:         25,
		LogLevel:         "info",
		Access:           rpc.ServerAccess{Prefix: "CHANNEL_"},
		WorkerAccess:     rpc.ClientAccess{Prefix: "CHANNEL_ORCHESTRATOR_"},
	}
}

// rawConfig is a Config on its way: what was given, before it is judged as a
// whole.
type rawConfig struct {
	*Config
	token             string
	tokenFile         string
	tokenByFlag       bool
	tokenFileByFlag   bool
	orchestrators     string
	longPollSet       bool
	pollIntervalGiven bool
	reflection        bool
}

// finish judges the settings that were given, in the order in which the errors
// are documented: token, modes, allowlist, then the rest.
func (r *rawConfig) finish(lookup Lookup) error {
	if r.pollIntervalGiven && !r.longPollSet {
		// Who sets an interval wants polls at that interval.
		r.LongPoll = 0
	}
	for _, check := range []func() error{r.checkToken, r.checkModes, r.checkAllowlist, r.checkWorkers, r.checkTurns,
		r.checkAddresses} {
		if err := check(); err != nil {
			return err
		}
	}
	if value, set := lookup("CHANNEL_ENABLE_MEMORY_HOOK"); set {
		on, err := parseBool(value)
		if err != nil {
			return fmt.Errorf("enable_memory_hook %w", err)
		}
		if on {
			r.Warnings = append(r.Warnings, "enable_memory_hook is not supported: no notes from a memory index are added")
		}
	}
	return nil
}

// checkToken takes the token from where it is given. A flag outweighs a variable
// here too, although the two settings have different names.
func (r *rawConfig) checkToken() error {
	if r.token != "" && r.tokenFile != "" {
		switch {
		case r.tokenByFlag == r.tokenFileByFlag:
			return errors.New("token and token_file are both given: give one of them")
		case r.tokenFileByFlag:
			r.token = ""
		}
	}
	if r.token == "" && r.tokenFile != "" {
		token, err := readToken(r.tokenFile)
		if err != nil {
			return err
		}
		r.token, r.TokenFile = token, r.tokenFile
	}
	if r.token == "" {
		return errors.New("token must be a non-empty string")
	}
	token := r.token
	r.Token = func() string { return token }
	return nil
}

// maxTokenFile is far beyond any token: what is larger is another file.
const maxTokenFile = 4096

func readToken(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("token_file cannot be read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("token_file cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(text) > maxTokenFile || strings.ContainsAny(token, " \t\r\n\x00") {
		return "", errors.New("token_file must hold a token and nothing else")
	}
	return token, nil
}

func (r *rawConfig) checkModes() error {
	r.AckPolicy = strings.ToLower(r.AckPolicy)
	switch {
	case r.Mode != "poll":
		return errors.New("mode must be 'poll' for TG-P0")
	case r.AckPolicy != AckAlways && r.AckPolicy != AckOnSuccess:
		return errors.New("ack_policy must be 'always' or 'on-success'")
	case r.OrchestratorMode != ModeDefault && r.OrchestratorMode != ModeCodex:
		return errors.New("orchestrator_mode must be 'default' or 'codex'")
	}
	return nil
}

func (r *rawConfig) checkAllowlist() error {
	switch {
	case len(r.AllowedChatIDs) > 0:
		return nil
	case r.LiveMode:
		return errors.New("allowed_chat_ids must be non-empty when live_mode is enabled")
	case r.OrchestratorMode == ModeCodex:
		return errors.New("allowed_chat_ids must be non-empty when orchestrator_mode is 'codex': " +
			"name the chats that may use the bot")
	}
	return nil
}

func (r *rawConfig) checkWorkers() (err error) {
	if r.OrchestratorAddrs, err = splitList(r.orchestrators); err != nil {
		return fmt.Errorf("orchestrator_addr %w", err)
	}
	return r.checkStore()
}

// checkStore never repeats what it refuses: a URL holds a password.
func (r *rawConfig) checkStore() error {
	if err := store.CheckDSN(r.Store); err != nil {
		return fmt.Errorf("store %w", err)
	}
	return nil
}

const maxModel = 128

func (r *rawConfig) checkTurns() error {
	switch r.SandboxMode {
	case "", "read-only", "workspace-write", "danger-full-access":
	default:
		return errors.New("codex_sandbox_mode must be 'read-only', 'workspace-write' or 'danger-full-access'")
	}
	notOfModel := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._:/-", c))
	}
	if len(r.Model) > maxModel || strings.ContainsFunc(r.Model, notOfModel) {
		return errors.New("codex_model must be at most 128 characters of A-Z, a-z, 0-9 and ._:/-")
	}
	// The path is the worker's, which may run another system.
	if r.WorkingDir != "" && !path.IsAbs(r.WorkingDir) && !filepath.IsAbs(r.WorkingDir) {
		return errors.New("working_dir must be an absolute path")
	}
	return nil
}

func (r *rawConfig) checkAddresses() error {
	if u, ok := httpURL(r.APIURL); !ok || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("telegram_api_url must be http(s)://host[:port][/path]")
	}
	if _, ok := httpURL(r.HeartbeatURL); !ok && r.HeartbeatURL != "" {
		return errors.New("heartbeat_url must be http(s)://host[:port][/path]")
	}
	if r.OTLPEndpoint != "" {
		if err := tracing.CheckEndpoint(r.OTLPEndpoint); err != nil {
			return fmt.Errorf("otlp_endpoint %w", err)
		}
	}
	if err := profiling.CheckAddr(r.PprofAddr); err != nil {
		return fmt.Errorf("pprof_addr %w", err)
	}
	if err := r.checkAccess(); err != nil {
		return err
	}
	switch r.LogLevel {
	case "debug", "info", "warn", "error":
		return nil
	}
	return errors.New("log_level must be debug, info, warn or error")
}
