package orchestrator

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/profiling"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/tracing"
	"telecodex.dev/services/orchestrator/internal/codex"
)

// Config is everything a worker can be told. ConfigFrom fills the part that has
// settings; a program that embeds the worker adds the rest.
type Config struct {
	ListenAddr       string            // "host:port" or "unix://path"
	Access           rpc.ServerAccess  // who may call; Listener's callers always may
	ClientRate       float64           // calls a second of one client; 0: no limit
	ClientStreams    int               // calls one client may have open; 0: by MaxTurns
	MetricsAddr      string            // the same; empty: off
	CodexBin         string            // path or name of Codex
	CodexHome        string            // CODEX_HOME; with StateSlotsDir where its login and configuration are
	CodexEnv         map[string]string // environment of Codex beside PATH, HOME, LANG and CODEX_HOME
	CodexEnvFiles    map[string]string // more of it: the names of files that hold the values
	StateDir         string
	StateSlotsDir    string   // shared by workers, each takes its StateDir and CodexHome from it; empty: not
	WorkspaceDir     string   // one directory per session beneath it; empty: <StateDir>/workspaces
	WorkspaceRoots   []string // beneath these a request may choose its working_dir
	AllowedSandboxes []string
	IdleTimeout      time.Duration // without an event
	TurnTimeout      time.Duration // of a turn whose request names none
	Drain            time.Duration // patience with running turns at the end
	MaxTurns         int
	KeepTurns        int // acknowledged turns whose ids are kept; 0: the default
	LogLevel         string
	OTLPEndpoint     string // where traces are sent; empty: nowhere
	PprofAddr        string // of profiles, on loopback; empty: none
	// CodexBase is what every Codex's environment begins with; Run sets its Home
	// and CodexHome.
	CodexBase codex.Base

	login string // with StateSlotsDir, the CODEX_HOME whose login the slots share

	// Listener replaces ListenAddr, for a worker in the caller's own process. Run
	// closes it.
	Listener net.Listener
	// Log is where the worker logs; nil: nowhere.
	Log *zap.Logger
	// ExtraMask names files and directories that Codex must not see, besides the
	// worker's own.
	ExtraMask []string
	// Ready is called with the address once the worker serves; nil: not.
	Ready func(net.Addr)
}

// setting is one thing that a flag or a variable of the environment sets.
type setting struct {
	env      string // the flag is named alike, see flag
	value    string // what help calls the value, with its unit
	fallback string
	help     string
	set      func(*Config, string) error
	words    []string // what the value can be, where that can be listed
}

const envPrefix = "ORCHESTRATOR_"

// flag is --listen-addr for ORCHESTRATOR_LISTEN_ADDR.
func (s setting) flag() string {
	return "--" + strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.env, envPrefix)), "_", "-")
}

func settings(lookup func(string) (string, bool)) []setting {
	return []setting{
		{"ORCHESTRATOR_LISTEN_ADDR", "ADDR", "127.0.0.1:7450", "gRPC address, host:port or unix://path", text(func(c *Config) *string { return &c.ListenAddr }), nil},
		{"ORCHESTRATOR_INSECURE", command.Bool, "false", "allow addresses that other machines reach, unencrypted", boolean(func(c *Config, on bool) { c.Access.Insecure = on }), nil},
		{"ORCHESTRATOR_TLS_CERT_FILE", command.Path, "", "certificate of the gRPC address (PEM); empty: no TLS", text(func(c *Config) *string { return &c.Access.TLS.Cert }), nil},
		{"ORCHESTRATOR_TLS_KEY_FILE", command.Path, "", "its key", text(func(c *Config) *string { return &c.Access.TLS.Key }), nil},
		{"ORCHESTRATOR_TLS_CLIENT_CA_FILE", command.Path, "", "who signs the certificates that clients must show; empty: they show none", text(func(c *Config) *string { return &c.Access.TLS.ClientCA }), nil},
		{"ORCHESTRATOR_TLS_CLIENT_NAMES", "NAMES", "", "clients that are let in, by a name in their certificates, comma-separated; empty: all whose certificate is signed so", words(func(c *Config) *[]string { return &c.Access.TLS.ClientNames }), nil},
		{"ORCHESTRATOR_AUTH_TOKEN_FILE", command.Path, "", "tokens of which calls must show one, one a line; empty: none", text(func(c *Config) *string { return &c.Access.TokenFile }), nil},
		{"ORCHESTRATOR_REFLECTION", command.Bool, "true", "let callers list the services and their messages", boolean(func(c *Config, on bool) { c.Access.NoReflection = !on }), nil},
		{"ORCHESTRATOR_CLIENT_RATE", "N", "1000", "calls a second of one client; 0: no limit", setClientRate, nil},
		{"ORCHESTRATOR_CLIENT_STREAMS", "N", "0", "calls one client may have open, at least 16 more than turns may run; 0: twice those turns and 256", setClientStreams, nil},
		{"ORCHESTRATOR_METRICS_ADDR", "ADDR", "127.0.0.1:9450", "address of /metrics, /healthz and /readyz; off: none", setMetrics, nil},
		{"ORCHESTRATOR_CODEX_BIN", command.Path, "codex", "path or name of the Codex CLI", required(func(c *Config) *string { return &c.CodexBin }), nil},
		{"ORCHESTRATOR_CODEX_HOME", command.Dir, "", "CODEX_HOME of Codex; empty: Codex's own", text(func(c *Config) *string { return &c.CodexHome }), nil},
		{"ORCHESTRATOR_CODEX_ENV", "LIST", "", "environment of Codex: NAME (the worker's value) or NAME=value, comma-separated", setCodexEnv(lookup), nil},
		{"ORCHESTRATOR_CODEX_ENV_FILES", "LIST", "", "environment of Codex from files, for secrets: NAME=path, comma-separated; an empty file is left out", setCodexEnvFiles, nil},
		{"ORCHESTRATOR_STATE_DIR", command.Dir, ".orchestrator", "journal, worker id, workspaces", required(func(c *Config) *string { return &c.StateDir }), nil},
		{"ORCHESTRATOR_STATE_SLOTS_DIR", command.Dir, "", "shared by workers: each takes the lowest free directory beneath it for its state and its CODEX_HOME; outweighs the state directory", text(func(c *Config) *string { return &c.StateSlotsDir }), nil},
		{"ORCHESTRATOR_WORKSPACE_DIR", command.Dir, "", "one directory per session beneath it; empty: workspaces in the state directory", text(func(c *Config) *string { return &c.WorkspaceDir }), nil},
		{"ORCHESTRATOR_WORKSPACE_ROOTS", "DIRS", "", "directories beneath which a request may choose its working directory, comma-separated", words(func(c *Config) *[]string { return &c.WorkspaceRoots }), nil},
		{"ORCHESTRATOR_ALLOWED_SANDBOXES", "MODES", "read-only,workspace-write", "sandbox modes a request may ask for, comma-separated", setSandboxes, nil},
		{"ORCHESTRATOR_IDLE_TIMEOUT_S", "SECONDS", "600", "seconds without an event after which a turn is stopped", seconds(func(c *Config) *time.Duration { return &c.IdleTimeout }, false), nil},
		{"ORCHESTRATOR_TURN_TIMEOUT_S", "SECONDS", "1800", "seconds a turn may take when its request does not say", seconds(func(c *Config) *time.Duration { return &c.TurnTimeout }, false), nil},
		{"ORCHESTRATOR_DRAIN_S", "SECONDS", "30", "seconds that running turns get when the worker is asked to stop", seconds(func(c *Config) *time.Duration { return &c.Drain }, true), nil},
		{"ORCHESTRATOR_MAX_TURNS", "N", "16", "turns that may run at once", setMaxTurns, nil},
		{"ORCHESTRATOR_KEEP_TURNS", "N", strconv.Itoa(defaultKeepTurns), "acknowledged turns whose ids are kept, for 30 days at most", setKeepTurns, nil},
		{"ORCHESTRATOR_OTLP_ENDPOINT", "URL", "", "an OpenTelemetry collector that traces are sent to, over gRPC: http://host:port, or https:// for TLS; empty: nowhere", setOTLP, nil},
		{"ORCHESTRATOR_PPROF_ADDR", "ADDR", "off", "profiles of the running program, on loopback or unix://path only; off: none", setPprof, nil},
		{"ORCHESTRATOR_LOG_LEVEL", "LEVEL", "info", "how much is logged, on standard error", setLogLevel, logLevels()},
	}
}

// Flags are the settings as a command's table has them.
func Flags() (flags []command.Flag) {
	for _, s := range settings(nil) {
		flags = append(flags, command.Flag{Name: s.flag(), Variable: s.env, Value: s.value, Default: s.fallback, Words: s.words, Help: s.help})
	}
	return flags
}

// ConfigFrom reads the settings: flag over environment over default. The error
// names the setting, in one line; command.ErrHelp and command.ErrVersion are what
// the arguments ask for instead.
func ConfigFrom(args []string, getenv func(string) string) (Config, error) {
	given, err := Manual().Parse(args)
	if err != nil {
		return Config{}, err
	}
	return NewConfig(given, getenv)
}

// NewConfig is ConfigFrom for flags that were read already; what it does not know
// among them is not its business.
func NewConfig(flags command.Values, getenv func(string) string) (Config, error) {
	c := Config{}
	lookup := func(name string) (string, bool) { value := getenv(name); return value, value != "" }
	for _, s := range settings(lookup) {
		value, given := flags[s.flag()]
		if !given {
			if value = getenv(s.env); value == "" {
				value = s.fallback
			}
		}
		if err := s.set(&c, value); err != nil {
			return Config{}, fmt.Errorf("%s (%s) %w", s.env, s.flag(), err)
		}
	}
	if c.CodexHome == "" {
		c.CodexHome = codexHome(getenv)
	}
	c.CodexBase = codex.Base{Path: getenv("PATH"), Lang: getenv("LANG"), System: codex.SystemVariables(lookup)}
	c.Access.Prefix = envPrefix
	if err := c.Access.Check(c.ListenAddr, c.MetricsAddr); err != nil {
		return Config{}, err
	}
	return c, c.checkStreams()
}

// codexHome is where Codex itself would look.
func codexHome(getenv func(string) string) string {
	if home := getenv("CODEX_HOME"); home != "" {
		return home
	}
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := getenv(name); home != "" {
			return filepath.Join(home, ".codex")
		}
	}
	return ""
}

// setCodexEnv gives every variable its value. One that the worker does not have is
// left out.
func setCodexEnv(lookup func(string) (string, bool)) func(*Config, string) error {
	return func(c *Config, value string) (err error) {
		if c.CodexEnv, err = codex.ParseWorkerEnv(value, lookup); err != nil {
			return fmt.Errorf("must be a list of NAME or NAME=value: %w", err)
		}
		return nil
	}
}

// setCodexEnvFiles only names the files: they are read when the worker starts.
func setCodexEnvFiles(c *Config, value string) (err error) {
	if c.CodexEnvFiles, err = codex.ParseWorkerEnv(value, func(string) (string, bool) { return "", true }); err != nil {
		return fmt.Errorf("must be a list of NAME=path: %w", err)
	}
	for name, path := range c.CodexEnvFiles {
		if path == "" {
			return fmt.Errorf("must be a list of NAME=path: %s has no path", name)
		}
	}
	return nil
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

func required(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if *field(c) = value; value == "" {
			return errors.New("must not be empty")
		}
		return nil
	}
}

func words(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			return nil
		}
		list := strings.Split(value, ",")
		for i := range list {
			if list[i] = strings.TrimSpace(list[i]); list[i] == "" {
				return errors.New("must not contain empty values")
			}
		}
		*field(c) = list
		return nil
	}
}

func seconds(field func(*Config) *time.Duration, zero bool) func(*Config, string) error {
	const most = 365 * 24 * 3600
	return func(c *Config, value string) error {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n > 0 || zero && n == 0) || n > most {
			return errors.New("must be a positive number of seconds, at most a year")
		}
		*field(c) = time.Duration(n * float64(time.Second))
		return nil
	}
}

func setMetrics(c *Config, value string) error {
	if value != "off" {
		c.MetricsAddr = value
	}
	return nil
}

func setOTLP(c *Config, value string) error {
	c.OTLPEndpoint = value
	if value == "" {
		return nil
	}
	return tracing.CheckEndpoint(value)
}

func setPprof(c *Config, value string) error {
	if value != "off" {
		c.PprofAddr = value
	}
	return profiling.CheckAddr(c.PprofAddr)
}

func setSandboxes(c *Config, value string) error {
	modes := []string{"read-only", "workspace-write", "danger-full-access"}
	if err := words(func(c *Config) *[]string { return &c.AllowedSandboxes })(c, value); err != nil {
		return err
	}
	for _, mode := range c.AllowedSandboxes {
		if !slices.Contains(modes, mode) {
			return errors.New("must be a list of read-only, workspace-write and danger-full-access")
		}
	}
	if len(c.AllowedSandboxes) == 0 {
		return errors.New("must not be empty")
	}
	return nil
}

func setMaxTurns(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 10_000 {
		return errors.New("must be an integer from 1 to 10000")
	}
	c.MaxTurns = n
	return nil
}

// Bounds of KeepTurns: no gateway asks for a turn that it acknowledged long ago.
const (
	defaultKeepTurns = 100_000
	leastKeptTurns   = 1000
)

func setKeepTurns(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < leastKeptTurns {
		return fmt.Errorf("must be an integer of at least %d", leastKeptTurns)
	}
	c.KeepTurns = n
	return nil
}

func setLogLevel(c *Config, value string) error {
	if !slices.Contains(logLevels(), value) {
		return errors.New("must be debug, info, warn or error")
	}
	c.LogLevel = value
	return nil
}

func logLevels() []string { return []string{"debug", "info", "warn", "error"} }
