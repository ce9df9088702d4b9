package smoke

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/telecodex/internal/smoke/evidence"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

// The simulated bot, and the person who writes to it. The ids look like real
// ones, so that redaction is seen to work.
const (
	simulatedToken = "7000000001:AASimulatedTokenOfTheSmokeProtocol0"
	simulatedChat  = 7100000042
	simulatedUser  = 7100000099
)

// simulatedGrace is how long a simulated cycle may take to stop, at the end of
// the time that the whole run has.
const simulatedGrace = 2 * time.Second

// simulated is the world without an account: each cycle has a Telegram simulator
// and a scripted Codex of its own.
type simulated struct {
	environ  environment
	scripted func(dir string) (string, error)
	redactor *evidence.Redactor
	end      time.Time // of the run: whatever hangs, it does not go on beyond
}

func newSimulated(r *run) (*simulated, error) {
	foreign := func(name string) bool { return isSetting(name) || isProxy(name) }
	r.redactor.Know(evidence.Secrets{Tokens: []string{simulatedToken},
		Chats: []string{strconv.Itoa(simulatedChat)}, Users: []string{strconv.Itoa(simulatedUser)}})
	return &simulated{environ: newEnvironment(r.Environ).without(foreign), scripted: r.Scripted, redactor: r.redactor, end: r.begin.Add(r.Limit)}, nil
}

func (s *simulated) describe() []string {
	return []string{"Telegram: simulated, one for each cycle", "Codex: scripted"}
}

func (s *simulated) close(context.Context) error { return nil }

// left is what the next cycle may take.
func (s *simulated) left() time.Duration { return time.Until(s.end) - simulatedGrace }

func (s *simulated) set(_ context.Context, c protocol.Cycle, _ int, dir string) (_ *scene, err error) {
	if s.left() <= 0 {
		return nil, errNoTime
	}
	codex, err := s.scripted(dir)
	if err != nil {
		return nil, fmt.Errorf("prepare the scripted Codex: %w", err)
	}
	for _, name := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{Token: simulatedToken})
	if err != nil {
		return nil, err
	}
	env := s.environ.with(template(nil)).with(state(dir)).with(map[string]string{
		"CHANNEL_TOKEN":             simulatedToken,
		"CHANNEL_TELEGRAM_API_URL":  sim.URL,
		"CHANNEL_ALLOWED_CHAT_IDS":  strconv.Itoa(simulatedChat),
		"CHANNEL_CURSOR_STATE_PATH": filepath.Join(dir, "cursor.json"),
		"ORCHESTRATOR_CODEX_BIN":    filepath.Base(codex), // looked for in PATH, as Codex is
		"ORCHESTRATOR_CODEX_HOME":   filepath.Join(dir, "codex"),
		"PATH":                      dir + string(os.PathListSeparator) + s.environ["PATH"],
		"HOME":                      filepath.Join(dir, "home"),
		"TMPDIR":                    filepath.Join(dir, "tmp"),
	})
	if c.Kind == protocol.TransientFetch {
		toTelegram(env)
	}
	if c.Inbound {
		text := "Simulated canary message of " + c.ID
		s.redactor.Know(evidence.Secrets{Texts: []string{text}})
		sim.Inject(telegramsim.Incoming{ChatID: simulatedChat, UserID: simulatedUser, Text: text})
	}
	inject(env, c)
	return &scene{env: env, time: bounds{limit: s.left(), grace: simulatedGrace}, close: sim.Close, world: func() *protocol.World {
		return &protocol.World{Sent: len(sim.Messages(0)), Threads: entries(filepath.Join(dir, "codex", "sessions"))}
	}}, nil
}

// entries counts what is in a directory; one that is not there is empty.
func entries(dir string) int {
	list, _ := os.ReadDir(dir)
	return len(list)
}

// template is the protocol's environment; what an operator may choose is kept
// where it is set.
func template(chosen environment) map[string]string {
	env := map[string]string{}
	for _, v := range protocol.Template() {
		env[v.Name] = v.Value
		if own, set := chosen[v.Name]; set && protocol.OperatorsChoice(v.Name) {
			env[v.Name] = own
		}
	}
	return env
}

// state keeps what a cycle stores in a directory, and lets it neither listen nor
// raise an alarm about a failure that is wanted.
func state(dir string) map[string]string {
	return map[string]string{
		"CHANNEL_STORE":              filepath.Join(dir, "gateway", "gateway.db"),
		"CHANNEL_LISTEN_ADDR":        "",
		"CHANNEL_METRICS_ADDR":       "",
		"CHANNEL_HEARTBEAT_URL":      "",
		"CHANNEL_LOG_LEVEL":          "error",
		"ORCHESTRATOR_STATE_DIR":     filepath.Join(dir, "worker"),
		"ORCHESTRATOR_WORKSPACE_DIR": "",
		"ORCHESTRATOR_METRICS_ADDR":  "off",
		"ORCHESTRATOR_DRAIN_S":       "1",
	}
}

// toTelegram aims a cycle that reaches nobody at Telegram itself, with a token
// that is none: Go takes no proxy for loopback addresses and for http.
func toTelegram(env environment) {
	delete(env, "CHANNEL_TOKEN_FILE")
	env["CHANNEL_TOKEN"] = simulatedToken
	env["CHANNEL_TELEGRAM_API_URL"] = "https://api.telegram.org"
}

// inject sabotages a cycle as the protocol says.
func inject(env environment, c protocol.Cycle) {
	for _, v := range c.Override {
		env[v.Name] = v.Value
	}
	if c.Kind == protocol.TransientFetch {
		// Nothing may go around the dead proxy.
		for name := range env {
			if isProxy(name) && name != "HTTPS_PROXY" {
				delete(env, name)
			}
		}
	}
}
