package telecodex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/term"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/orchestrator"
)

// demoChat is the simulated person's chat.
const demoChat = 1000

// demo runs both services against a Telegram simulator in this process, with
// its state in a temporary directory. At a terminal a person types; elsewhere one
// message makes the round trip.
func demo(ctx context.Context, given command.Values, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	message := given["--message"]
	interactive := message == "" && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	if message == "" {
		message = "Hello from the demonstration."
	}
	stage, err := setUp(ctx, env, stdout, stderr)
	if err == nil {
		err = stage.play(ctx, func(ctx context.Context) error {
			if interactive {
				return stage.converse(ctx, os.Stdin)
			}
			return stage.roundTrip(ctx, message)
		})
		err = errors.Join(err, stage.tearDown())
	}
	switch {
	case ctx.Err() != nil:
		return lifecycle.ExitInterrupted
	case err != nil:
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

// stage is a demonstration: a simulated Telegram, and both services around it.
type stage struct {
	dir     string
	sim     *telegramsim.Server
	gateway gateway.Config
	worker  orchestrator.Config
	reports chan string // cycle reports, one JSON object each
	out     *lockedWriter
}

func setUp(ctx context.Context, env lifecycle.Lookup, stdout, stderr io.Writer) (_ *stage, err error) {
	s := &stage{reports: make(chan string, 16), out: &lockedWriter{w: stdout}}
	if s.dir, err = os.MkdirTemp("", "telecodex-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.tearDown())
		}
	}()
	codex, err := chooseCodex(ctx, env, s.dir)
	if err != nil {
		return nil, err
	}
	if s.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		return nil, err
	}
	if err := s.configure(env, codex, stderr); err != nil {
		return nil, err
	}
	s.sayf("Telegram: simulated, at %s", s.sim.URL)
	s.sayf("Codex: %s", codex.why)
	return s, nil
}

// configure makes both configurations: the person's own settings, but for what
// belongs to a real bot or would leave something behind.
func (s *stage) configure(env lifecycle.Lookup, codex choice, stderr io.Writer) (err error) {
	own := map[string]string{
		"CHANNEL_TOKEN":             telegramsim.DefaultToken,
		"CHANNEL_TELEGRAM_API_URL":  s.sim.URL,
		"CHANNEL_ALLOWED_CHAT_IDS":  strconv.Itoa(demoChat),
		"CHANNEL_STORE":             filepath.Join(s.dir, "gateway", "gateway.db"),
		"CHANNEL_CURSOR_STATE_PATH": "",
		"CHANNEL_LISTEN_ADDR":       "",
		"CHANNEL_METRICS_ADDR":      "",
		"CHANNEL_ORCHESTRATOR_MODE": gateway.ModeCodex,
		"CHANNEL_HEARTBEAT_URL":     "",
		"CHANNEL_ONCE":              "false",
		"ORCHESTRATOR_STATE_DIR":    filepath.Join(s.dir, "worker"),
		"ORCHESTRATOR_METRICS_ADDR": "off",
		"ORCHESTRATOR_CODEX_BIN":    codex.bin,
	}
	if codex.home != "" {
		own["ORCHESTRATOR_CODEX_HOME"] = codex.home
	}
	level := "error"
	if value, set := env("CHANNEL_LOG_LEVEL"); set {
		level = value
	}
	lookup := func(name string) (string, bool) {
		if value, set := own[name]; set {
			return value, true
		}
		return env(name)
	}
	if s.gateway, err = gateway.ParseConfig(nil, lookup); err != nil {
		return err
	}
	if s.worker, err = orchestrator.ConfigFrom(nil, lifecycle.Lookup(lookup).Getenv); err != nil {
		return err
	}
	log, err := logging.New(stderr, level)
	if err != nil {
		return err
	}
	s.gateway.OrchestratorAddrs = nil
	s.gateway.Stdout, s.gateway.Log = lines(s.reports), log.Named("gateway")
	s.worker.Log = log.Named("orchestrator")
	if codex.key != "" {
		given := s.worker.CodexEnv
		s.worker.CodexEnv = map[string]string{"CODEX_API_KEY": codex.key}
		maps.Copy(s.worker.CodexEnv, given)
	}
	s.worker.ExtraMask = []string{filepath.Dir(s.gateway.Store)}
	return nil
}

// play runs the services while script plays the person.
func (s *stage) play(ctx context.Context, script func(context.Context) error) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	group := lifecycle.NewGroup(ctx)
	group.Go(func(ctx context.Context) error { return together(ctx, s.gateway, s.worker) })
	group.Go(func(ctx context.Context) error {
		defer end()
		return script(ctx)
	})
	return group.Wait()
}

func (s *stage) tearDown() (err error) {
	if s.sim != nil {
		err = s.sim.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *stage) sayf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// lines is a writer that passes on what is written line by line. The gateway
// writes a whole line at a time. When nobody reads, reports are left out: they
// are only shown.
type lines chan string

func (l lines) Write(text []byte) (int, error) {
	select {
	case l <- string(bytes.TrimRight(text, "\n")):
	default:
	}
	return len(text), nil
}

// lockedWriter lets several goroutines write whole lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(text)
}
