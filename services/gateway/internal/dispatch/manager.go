// Package dispatch carries out what the lanes decide: one goroutine for each
// session that has work, the commits in the gateway's store, the calls to the
// workers, and what comes of them. Sessions run side by side and none waits for
// another; a session's goroutine ends when its lane is empty.
package dispatch

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/tracing"
)

// Turn is what is sent with each turn.
type Turn struct {
	Timeout    time.Duration // overall limit of a turn
	WorkingDir string        // empty: the session's own
	Sandbox    string        // empty: the worker's default
	Model      string        // empty: Codex's default
}

// Config is what a Manager works with.
type Config struct {
	Store *store.Store
	// Workers is nil where nothing is dialed: then lanes rest, and only commands
	// and echoes are handled.
	Workers *workers.Directory
	Reports *cycle.Tracker
	// Posted is told that messages for a chat were put into the outbox.
	Posted func(chatID int64)
	// Typing shows in a chat that its turn runs. It must not block.
	Typing func(chatID, topicID int64, group bool)
	// Pressed ends the wait of a pressed button, with a text that the person sees for
	// a moment. After an error they may not have seen it.
	Pressed func(ctx context.Context, callbackID, text string) error
	// Decided is told that a question says what was decided from now on.
	Decided func()
	Turn    Turn
	// Notify: a failed turn is told to the person, and so is one that has to wait.
	Notify bool
	// OnSuccess: a turn that was not started, because Codex could not be, is tried
	// again later. Otherwise it has failed.
	OnSuccess bool
	// Once: what cannot be done now is left in the store.
	Once bool
	// Patience is how long a worker may be unreachable before it is reported, and
	// with Once left alone; 0: 10 s.
	Patience time.Duration
	// InterruptedWait is how long an interrupted turn that nobody decides about
	// holds back what waited for it, 0: not at all.
	InterruptedWait time.Duration
	// SessionMax is how many sessions are remembered that have no work, 0: no
	// bound; SessionIdle is for how long, 0: for ever. Evicted is told which chat
	// has no session left that is remembered; nil: nobody is.
	SessionMax  int
	SessionIdle time.Duration
	Evicted     func(chatID int64)
	Meter       *meters.Meter
	Trace       *tracing.Tracer
	Log         *zap.Logger
}

// Manager runs the lanes of all sessions.
type Manager struct {
	Config
	acks  acknowledger
	group *lifecycle.Group // of Run; set before anything is started

	mu        sync.Mutex
	recovered bool // what the store holds was taken up
	lanes     map[string]*runner
	wanted    map[string]bool // sessions to be woken
	commands  commands
	idle      residents
	changed   chan struct{} // closed at each change
}

// New returns a manager. It does nothing before Run.
func New(config Config) *Manager {
	if config.Patience == 0 {
		config.Patience = 10 * time.Second
	}
	m := &Manager{Config: config, lanes: map[string]*runner{}, wanted: map[string]bool{}, changed: make(chan struct{})}
	m.commands.handling = map[store.Key]bool{}
	m.commands.cancels = map[store.Key]*order{}
	m.acks = newAcknowledger(m)
	m.idle = newResidents(config.SessionMax, config.SessionIdle)
	return m
}

// Run takes up what the store holds and runs lanes until the context ends or the
// store is lost to another gateway. Turns that run then go on at their workers
// and are watched again by the next Run.
func (m *Manager) Run(ctx context.Context) error {
	open, err := m.Store.OpenSessions(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	m.Wake(open, true)
	m.change(func() { m.recovered = true })
	m.group = lifecycle.NewGroup(ctx)
	if m.Workers != nil {
		m.group.Go(m.acks.run)
	}
	m.group.Go(func(ctx context.Context) error { m.start(ctx); return nil })
	m.group.Go(m.evictIdle)
	return m.group.Wait()
}

// Wake says that sessions may have work, and whether commands may wait. It never
// blocks, and may be called before Run.
func (m *Manager) Wake(sessions []string, commands bool) {
	m.change(func() {
		if m.Workers != nil {
			for _, s := range sessions {
				m.wanted[s] = true
			}
		}
		m.commands.wanted = m.commands.wanted || commands
	})
}

// Quiet waits until no lane has work that can be done and no command waits.
func (m *Manager) Quiet(ctx context.Context) error {
	return m.await(ctx, func() bool {
		return m.recovered && len(m.lanes) == 0 && len(m.wanted) == 0 && !m.commands.wanted && !m.commands.running && len(m.commands.handling) == 0
	})
}

// Flush waits until the workers were told of every stored outcome, or ctx ends.
func (m *Manager) Flush(ctx context.Context) error { return m.await(ctx, m.acks.quiet) }

// await waits until cond, which is called with mu held, is true.
func (m *Manager) await(ctx context.Context, cond func() bool) error {
	for {
		m.mu.Lock()
		ok, changed := cond(), m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (m *Manager) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

// start starts the goroutines of what was woken.
func (m *Manager) start(ctx context.Context) {
	for m.await(ctx, func() bool { return len(m.wanted) > 0 || m.commands.wanted && !m.commands.running }) == nil {
		m.change(func() {
			for session := range m.wanted {
				if r := m.lanes[session]; r != nil {
					r.wake()
					continue
				}
				r := newRunner(m, session)
				m.lanes[session] = r
				r.chat, _ = m.idle.remove(session)
				m.group.Go(r.run)
			}
			clear(m.wanted)
			if m.commands.wanted && !m.commands.running {
				m.commands.wanted, m.commands.running = false, true
				m.group.Go(m.runCommands)
			}
		})
	}
}

// leave ends a lane that is empty, unless it was woken since that was read.
// Looking and leaving are one step, so that no wake-up is lost between them.
func (m *Manager) leave(r *runner) (left bool) {
	var chat int64
	m.change(func() {
		chat = r.chat
		if left = !r.woken; left {
			delete(m.lanes, r.session)
		}
	})
	if left && chat != 0 {
		m.rest(r.session, chat)
	}
	return left
}

// drop ends a lane whatever waits in it. One that was held back and woken since
// begins anew: what woke it may be the decision that it waited for.
func (m *Manager) drop(r *runner) {
	m.change(func() {
		delete(m.lanes, r.session)
		if r.woken && !r.since.IsZero() {
			m.wanted[r.session] = true
			return
		}
		m.cancelLeft(r.session)
	})
}
