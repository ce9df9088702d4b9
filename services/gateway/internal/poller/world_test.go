package poller_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const allowed = int64(1000)

var bot = store.Bot{ID: 1000000, Fingerprint: "f"}

// world is a poller between a simulated Telegram and a real store.
type world struct {
	t      *testing.T
	sim    *telegramsim.Sim
	client *botapi.Client
	db     *store.DB
	dbPath string
	config poller.Config

	mu       sync.Mutex
	reports  []*telemetryv1.CycleReport
	woken    []string
	commands int
	changed  chan struct{} // has room for one
}

// newWorld is a world whose Telegram is a real server.
func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return build(t, server.Sim, botapi.Options{BaseURL: server.URL, Retries: []time.Duration{time.Millisecond, time.Millisecond}})
}

func build(t *testing.T, sim *telegramsim.Sim, o botapi.Options) *world {
	t.Helper()
	w := &world{t: t, sim: sim, dbPath: filepath.Join(t.TempDir(), "gateway.db"), changed: make(chan struct{}, 1)}
	w.config = poller.Config{
		Gate:     admission.NewGate(admission.Policy{Allowed: []string{"1000"}, Username: "telecodex_bot"}),
		Tracker:  cycle.NewTracker(w.report, cycle.Options{}),
		Interval: 2 * time.Second,
		LongPoll: 25 * time.Second,
		Wake:     w.wake,
		Log:      zap.NewNop(),
	}
	o.Token = func() string { return telegramsim.DefaultToken }
	o.OnRetry = func(string) { w.config.Tracker.FetchRetried() }
	var err error
	if w.client, err = botapi.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.CloseIdleConnections)
	w.config.Bot = w.client
	w.open(nil)
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open(floor *int64) {
	w.t.Helper()
	var err error
	if w.db, err = store.Open(w.t.Context(), w.dbPath, zap.NewNop()); err != nil {
		w.t.Fatal(err)
	}
	if w.config.Store, err = w.db.Acquire(w.t.Context(), bot, floor); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) report(r *telemetryv1.CycleReport) {
	w.mu.Lock()
	w.reports = append(w.reports, r)
	w.mu.Unlock()
	w.tell()
}

func (w *world) wake(sessions []string, commands bool) {
	w.mu.Lock()
	w.woken = append(w.woken, sessions...)
	if commands {
		w.commands++
	}
	w.mu.Unlock()
	w.tell()
}

func (w *world) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// await waits until met says so of what has been reported and woken.
func (w *world) await(met func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		w.mu.Lock()
		done := met()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			w.t.Fatal("it did not come to pass")
		}
	}
}

// once polls one time, settles what was handed on, and returns the report.
func (w *world) once() *telemetryv1.CycleReport {
	w.t.Helper()
	w.config.Once = true
	if err := poller.New(w.config).Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	if err := w.config.Tracker.Wait(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports[len(w.reports)-1]
}

// settle says of everything that waits that it was answered.
func (w *world) settle() {
	w.t.Helper()
	ctx := w.t.Context()
	sessions, err := w.config.Store.OpenSessions(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	commands, err := w.config.Store.Commands(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range sessions {
		work, err := w.config.Store.OpenWork(ctx, id)
		if err != nil {
			w.t.Fatal(err)
		}
		commands = append(commands, work...)
	}
	for _, u := range commands {
		w.config.Tracker.Settled(u.Key, u.SessionID, cycle.Result{Sent: true})
	}
}

// run polls until the returned function is called, which waits for the end.
func (w *world) run() (p *poller.Poller, stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	p = poller.New(w.config)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) say(text string) telegramsim.Injected {
	return w.sim.Inject(telegramsim.Incoming{ChatID: allowed, Text: text})
}

func (w *world) state(updateID int64) store.State {
	w.t.Helper()
	trace, err := w.config.Store.Trace(w.t.Context(), updateID, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return trace.Update.State
}

func (w *world) raw(update string) int64 {
	w.t.Helper()
	in, err := w.sim.InjectRaw(json.RawMessage(update), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return in.UpdateID
}
