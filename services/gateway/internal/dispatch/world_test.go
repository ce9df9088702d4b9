package dispatch

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const chat = 1000

// world is a gateway without Telegram: a real store, a real directory, and fake
// workers behind real connections.
type world struct {
	t       testing.TB
	store   *store.Store
	db      *store.DB
	config  Config
	path    string // of the database
	addrs   []string
	lost    time.Duration // after which a worker is; 0: never
	manager *Manager
	workers *workers.Directory
	dialer  rpc.Dialer // to the workers; nil: the network
	stop    func() error
	logs    *observer.ObservedLogs

	nextID  int64
	mu      sync.Mutex
	report  []*telemetryv1.CycleReport
	typed   int
	decided int
	button  []string
}

func newWorld(t testing.TB, fakes ...*fakeWorker) *world {
	t.Helper()
	w := &world{t: t, nextID: 100, path: filepath.Join(t.TempDir(), "gateway.db")}
	db, err := store.Open(t.Context(), w.path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	t.Cleanup(func() {
		if err := errors.Join(w.halt(), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.store, err = db.Acquire(t.Context(), store.Bot{ID: 7, Username: "b", Fingerprint: "f"}, nil); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	w.logs = logs
	w.config = Config{Store: w.store, Notify: true, Log: zap.New(core), Turn: Turn{Timeout: time.Minute},
		Reports: cycle.NewTracker(w.reported, cycle.Options{}),
		Posted:  func(int64) {},
		Decided: func() { w.mu.Lock(); w.decided++; w.mu.Unlock() },
		Typing:  func(int64, int64, bool) { w.mu.Lock(); w.typed++; w.mu.Unlock() },
		Pressed: func(_ context.Context, _, text string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.button = append(w.button, text)
			return nil
		},
	}
	for _, f := range fakes {
		w.addrs = append(w.addrs, f.address)
	}
	return w
}

func (w *world) reported(r *telemetryv1.CycleReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = append(w.report, r)
}

// run starts a manager, as a gateway process does.
func (w *world) run() *world {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var directory *workers.Directory
	if len(w.addrs) > 0 {
		var err error
		if directory, err = workers.New(workers.Config{Targets: w.addrs, Dial: rpc.DialOptions{Dialer: w.dialer}, Lost: w.lost, Log: zap.NewNop()}); err != nil {
			w.t.Fatal(err)
		}
	}
	config := w.config
	config.Workers, w.workers = directory, directory
	w.manager = New(config)
	done := make(chan error, 2)
	tasks := 1
	go func() { done <- w.manager.Run(ctx) }()
	if directory != nil {
		tasks++
		go func() { done <- directory.Run(ctx) }()
	}
	w.stop = sync.OnceValue(func() error {
		cancel()
		var errs []error
		for range tasks {
			errs = append(errs, <-done)
		}
		if directory != nil {
			errs = append(errs, directory.Close())
		}
		return errors.Join(errs...)
	})
	return w
}

// halt ends the manager, as a crash or an orderly end does: nothing but the store
// is left.
func (w *world) halt() error {
	if w.stop == nil {
		return nil
	}
	return w.stop()
}

func (w *world) restart() {
	w.t.Helper()
	if err := w.halt(); err != nil {
		w.t.Fatal(err)
	}
	w.run()
}

// send commits an update of a chat, as the poller does, and wakes the manager.
func (w *world) send(chatID int64, kind store.Kind, text string) store.Update {
	w.t.Helper()
	return w.sendAll(store.NewUpdate{ChatID: chatID, Kind: kind, Text: text})[0]
}

func (w *world) sendAll(updates ...store.NewUpdate) []store.Update {
	w.t.Helper()
	c := w.config.Reports.Begin(time.Now())
	var sessions []string
	for i := range updates {
		u := &updates[i]
		w.nextID++
		u.UpdateID, u.MessageID, u.FromID, u.Private, u.State = w.nextID, w.nextID, u.ChatID, true, store.Queued
		u.Digest, u.SessionID, u.Date = strconv.FormatInt(w.nextID, 10), admission.SessionID(u.ChatID, 0), time.Now()
		sessions = append(sessions, u.SessionID)
	}
	in, err := w.store.Ingest(w.t.Context(), updates, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	c.Fetched(cycle.Batch{Handed: in.New})
	if w.manager != nil {
		w.manager.Wake(sessions, true)
	}
	return in.New
}

func (w *world) prompt(text string) store.Update { return w.send(chat, store.KindPrompt, text) }

// eventually waits until a condition holds.
func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			for _, line := range w.logs.All() {
				w.t.Log(line.LoggerName, line.Message, line.ContextMap())
			}
			w.t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) trace(u store.Update) store.Trace {
	w.t.Helper()
	trace, err := w.store.Trace(w.t.Context(), u.UpdateID, u.Generation)
	if err != nil {
		w.t.Fatal(err)
	}
	return trace
}

// settled waits until an update came to an end and returns its newest turn.
func (w *world) settled(u store.Update) store.Turn {
	w.t.Helper()
	w.eventually("update "+strconv.FormatInt(u.UpdateID, 10)+" settled", func() bool {
		return slices.Contains([]store.State{store.Finished, store.Delivered, store.Interrupted, store.Dropped}, w.trace(u).Update.State)
	})
	turns := w.trace(u).Turns
	if len(turns) == 0 {
		return store.Turn{}
	}
	return turns[len(turns)-1]
}

// outbox takes all messages for a chat, as a sender would, and returns them.
func (w *world) outbox(chatID int64) (messages []store.Outgoing) {
	w.t.Helper()
	for {
		o, ok, err := w.store.NextMessage(w.t.Context(), chatID)
		if err != nil {
			w.t.Fatal(err)
		}
		if !ok {
			return messages
		}
		messages = append(messages, o)
		if err := w.store.MarkSending(w.t.Context(), o.ID); err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.store.MarkSent(w.t.Context(), o.ID, 1, time.Now()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// said is the text of all messages for a chat.
func (w *world) said(chatID int64) string {
	var texts []string
	for _, o := range w.outbox(chatID) {
		texts = append(texts, o.Text)
	}
	return strings.Join(texts, "|")
}

// details are the codes of all reports so far.
func (w *world) details() (codes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.report {
		for _, d := range r.GetErrorDetails() {
			codes = append(codes, d.GetCode())
		}
	}
	return codes
}

// detailsOf are the codes that were reported about an update.
func (w *world) detailsOf(u store.Update) (codes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.report {
		for _, d := range r.GetErrorDetails() {
			if d.GetContext().GetUpdateId() == strconv.FormatInt(u.UpdateID, 10) {
				codes = append(codes, d.GetCode())
			}
		}
	}
	return codes
}

func (w *world) turnID(u store.Update, attempt int) string { return store.TurnID(7, u.Key, attempt) }

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
