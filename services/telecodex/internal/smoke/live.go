package smoke

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/telecodex/internal/smoke/evidence"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

const (
	// longestPoll is how long one look at Telegram may wait.
	longestPoll = 20 * time.Second
	// betweenLooks spares Telegram: a look that found only what is not for us
	// would find it again at once.
	betweenLooks = 2 * time.Second
	// beyondTurn is how much longer than its turn a cycle may take.
	beyondTurn = time.Minute
	// liveGrace is how long it may take to stop: its worker drains for a second.
	liveGrace = 15 * time.Second
	// lastLook bounds what is done at the end.
	lastLook = 10 * time.Second
)

// live is the operator's bot, one chat and a person who writes in it. The
// cycles share a cursor, which begins where the operator's stands, so that no
// message is taken twice.
type live struct {
	console  *console
	redactor *evidence.Redactor
	patience time.Duration
	env      environment // of every cycle, but for its state
	config   gateway.Config
	chat     int64
	took     bool // a cycle may have taken messages
}

func newLive(ctx context.Context, r *run) (*live, error) {
	l := &live{console: r.console, redactor: r.redactor, patience: r.Wait}
	operators := newEnvironment(r.Environ)
	l.env = operators.with(template(operators))
	var err error
	if l.config, err = gateway.ParseConfig(nil, l.env.lookup); err != nil {
		return nil, err
	}
	if l.chat, err = canary(l.config.AllowedChatIDs, operators["CANARY_CHAT_ID"]); err != nil {
		return nil, err
	}
	if err := l.ready(ctx, r); err != nil {
		return nil, err
	}
	id := strconv.FormatInt(l.chat, 10)
	r.redactor.Know(evidence.Secrets{Tokens: []string{l.config.Token()}, Chats: []string{id}})
	cursor := filepath.Join(r.dir, "cursor.json")
	if err := copyCursor(l.config.CursorStatePath, cursor); err != nil {
		return nil, err
	}
	l.config.CursorStatePath = cursor
	l.env["CHANNEL_CURSOR_STATE_PATH"] = cursor
	l.env["CHANNEL_ALLOWED_CHAT_IDS"] = id
	if asked(r, func(c protocol.Cycle) bool { return c.Inbound }) {
		if err := gateway.CanPoll(ctx, l.config); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// ready says what would spoil the run, before a person is asked for anything.
func (l *live) ready(ctx context.Context, r *run) error {
	// A store that cannot be looked at is not used here: await says what a bot
	// does to the run.
	if runs, err := gateway.Runs(l.config); err == nil && runs {
		return errors.New("a gateway that runs uses the store, and Telegram serves one poller: stop the bot first")
	}
	if asked(r, func(c protocol.Cycle) bool { return c.Kind == protocol.HappyPath || c.Kind == protocol.CodexTimeout }) {
		return l.canWork(ctx, r)
	}
	return nil
}

// asked says whether such a cycle is to be run.
func asked(r *run, which func(protocol.Cycle) bool) bool {
	return slices.ContainsFunc(protocol.Cycles(), func(c protocol.Cycle) bool { return slices.Contains(r.Scenarios, c.Scenario) && which(c) })
}

// canWork says why no turn could be run.
func (l *live) canWork(ctx context.Context, r *run) error {
	if l.config.OrchestratorAddrs != nil {
		return gateway.CanWork(ctx, l.config)
	}
	return r.FindCodex(func(name string) string { return l.env[name] })
}

// canary is the one chat that may be used. A list that names more is refused,
// never cut down: it is the operator's to say which chat is the canary.
func canary(allowed []string, named string) (int64, error) {
	if len(allowed) != 1 {
		return 0, fmt.Errorf("a live smoke needs exactly one allowlisted canary chat; allowed_chat_ids names %d", len(allowed))
	}
	chat, err := strconv.ParseInt(allowed[0], 10, 64)
	if err != nil || chat == 0 {
		return 0, errors.New("a live smoke needs exactly one allowlisted canary chat; allowed_chat_ids names none by its number")
	}
	if other, err := strconv.ParseInt(strings.TrimSpace(named), 10, 64); named != "" && (err != nil || other != chat) {
		return 0, errors.New("CANARY_CHAT_ID is not the chat that allowed_chat_ids names: nothing was run")
	}
	if strconv.FormatInt(chat, 10) == protocol.ExcludingChat {
		return 0, fmt.Errorf("the canary chat cannot be %s: it is the one that S4 allows instead", protocol.ExcludingChat)
	}
	return chat, nil
}

// copyCursor begins where the operator's bot stopped. Without a file it begins
// with what Telegram has.
func copyCursor(from, to string) error {
	if from == "" {
		return nil
	}
	text, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the cursor file cannot be read, and without it messages could be taken twice: %w", err)
	}
	return os.WriteFile(to, text, 0o600)
}

func (l *live) describe() []string {
	worker := "this machine's"
	if l.config.OrchestratorAddrs != nil {
		worker = "that of the orchestrators in CHANNEL_ORCHESTRATOR_ADDR; for " + protocol.Cycles()[protocol.CodexExecFail].Title + " this machine's"
	}
	lines := []string{"Telegram: the operator's bot", "Codex: " + worker}
	if !proxied(l.config.APIURL) {
		lines = append(lines, "CHANNEL_TELEGRAM_API_URL is not reached through a proxy: S2 aims at https://api.telegram.org, with a token that is none")
	}
	return lines
}

// proxied says whether HTTPS_PROXY applies to a URL.
func proxied(apiURL string) bool {
	u, err := url.Parse(apiURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

func (l *live) set(ctx context.Context, c protocol.Cycle, try int, dir string) (*scene, error) {
	if c.Inbound {
		if err := l.await(ctx, c, try); err != nil {
			return nil, err
		}
		l.took = true
	}
	env := l.env.with(state(dir))
	switch c.Kind {
	case protocol.TransientFetch:
		if !proxied(l.config.APIURL) {
			toTelegram(env)
		}
	case protocol.CodexExecFail:
		// PATH is that of the worker in the program itself.
		delete(env, "CHANNEL_ORCHESTRATOR_ADDR")
		env["ORCHESTRATOR_CODEX_BIN"] = "codex"
	}
	inject(env, c)
	return &scene{env: env, time: bounds{limit: l.config.TurnTimeout + beyondTurn, grace: liveGrace}, close: func() error { return nil }}, nil
}

// await says what to write, and waits until it is there. Any prompt from the
// canary chat will do.
func (l *live) await(ctx context.Context, c protocol.Cycle, try int) error {
	text := fmt.Sprintf("Canary %s, try %d: answer with the one word pong.", c.ID, try)
	l.console.linef("%s: send this message to the bot, from the canary chat, within %d s:", c.Title, int(l.patience.Seconds()))
	l.console.linef("  %s", text)
	waiting, stop := context.WithTimeout(ctx, l.patience)
	defer stop()
	came, troubles := make(chan error, 1), make(chan error)
	go func() { came <- l.look(waiting, troubles) }()
	l.console.told = time.Time{}
	deadline := time.Now().Add(l.patience)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		l.console.countdown("waiting for the message", time.Until(deadline))
		select {
		case trouble := <-troubles:
			l.console.linef("  Telegram cannot be looked at: %s", l.redactor.Text(trouble.Error()))
		case <-ticker.C:
		case err := <-came:
			if err == nil {
				l.console.statusf("%s: the message is there …", c.Title)
			}
			return errors.Join(err, ctx.Err())
		}
	}
}

// look looks at Telegram until the canary chat has written, or ctx ends: then
// the error is errNoMessage, with what kept it from looking. It tells once of
// each such thing.
func (l *live) look(ctx context.Context, troubles chan<- error) error {
	var hindrance error
	for {
		left := longestPoll
		if deadline, ok := ctx.Deadline(); ok {
			left = max(min(left, time.Until(deadline)), 0)
		}
		found, err := gateway.Wait(ctx, l.config, left)
		for _, m := range found {
			l.redactor.Know(evidence.Secrets{Texts: []string{m.Text}, Users: []string{strconv.FormatInt(m.FromID, 10)}})
		}
		if len(found) > 0 {
			return nil
		}
		if err != nil && ctx.Err() == nil && (hindrance == nil || err.Error() != hindrance.Error()) {
			hindrance = err
			select {
			case troubles <- err:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
			if hindrance != nil {
				return fmt.Errorf("%w, and Telegram could not be looked at all the time: %s", errNoMessage, l.redactor.Text(hindrance.Error()))
			}
			return errNoMessage
		case <-time.After(betweenLooks):
		}
	}
}

// close confirms to Telegram what the cycles took. Their store is gone, and the
// operator's bot would take it once more.
func (l *live) close(ctx context.Context) error {
	if !l.took {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if _, err := gateway.Wait(ctx, l.config, 0); err != nil {
		return fmt.Errorf("the canary messages could not be confirmed to Telegram: the bot's next run will take those of the last cycle once more: %w", err)
	}
	return nil
}
