package poller_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

func TestUpdatesAreCommittedBeforeTelegramForgetsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.say("one")
	w.say("two")
	r := w.once()
	if r.GetStatus() != "ok" || r.GetReason() != "processed" || r.GetFetchedCount() != 2 || r.GetSentCount() != 2 {
		t.Errorf("report %v", r)
	}
	if got := w.sim.State(); got.Pending != 2 {
		t.Errorf("Telegram still has %d", got.Pending)
	}
	// A restart between the commit and the next poll: the updates come again.
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(nil)
	w.say("three")
	if r = w.once(); r.GetFetchedCount() != 1 || w.sim.State().ConfirmedOffset != first.UpdateID+2 {
		t.Errorf("report %v, confirmed %d", r, w.sim.State().ConfirmedOffset)
	}
	if diff := cmp.Diff([]string{"telegram:1000", "telegram:1000"}, w.woken); diff != "" {
		t.Error(diff)
	}
}

// offsets checks, before each getUpdates goes out, that what it confirms is
// committed.
type offsets struct {
	t     *testing.T
	store func() *store.Store
	next  http.RoundTripper
	seen  []int64
}

func (o *offsets) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	var params struct{ Offset int64 }
	if err := json.NewDecoder(body).Decode(&params); err != nil {
		return nil, err
	}
	cursor, err := o.store().Cursor(context.Background())
	if err != nil || params.Offset > cursor.NextOffset {
		o.t.Errorf("offset %d is sent while %d is committed (%v)", params.Offset, cursor.NextOffset, err)
	}
	o.seen = append(o.seen, params.Offset)
	return o.next.RoundTrip(r)
}

func TestNoOffsetIsSentBeforeItsCommit(t *testing.T) {
	t.Parallel()
	server, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	watch := &offsets{t: t, next: transport}
	w := build(t, server.Sim, botapi.Options{BaseURL: server.URL, Transport: watch})
	watch.store = func() *store.Store { return w.config.Store }
	_, stop := w.run()
	for n := range 20 {
		w.say("hello")
		w.await(func() bool { return len(w.woken) > n })
	}
	stop()
	if len(watch.seen) < 20 || !slices.IsSorted(watch.seen) {
		t.Errorf("offsets %v", watch.seen)
	}
}

func TestTheAgeOfTheLastSuccessDoesNotDependOnTheClock(t *testing.T) {
	w := newWorld(t)
	w.config.Once = true
	p := poller.New(w.config)
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last := p.LastSuccess(); last.IsZero() || last == last.Round(0) { // which takes the monotonic clock's time away
		t.Errorf("the last success, %v, is at the mercy of whoever sets the clock", last)
	}
}

func TestAJudgementForEveryUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []int64{
		w.say("hello").UpdateID,
		w.sim.Inject(telegramsim.Incoming{ChatID: 999, Text: "let me in"}).UpdateID,
		w.sim.Inject(telegramsim.Incoming{ChatID: allowed, Text: "beep", Bot: true}).UpdateID,
		w.say("").UpdateID,
		w.say("/help").UpdateID,
		w.raw(`{"message": {"message_id": "broken"}}`),
		w.raw(`{"poll": {}}`),
		w.sim.InjectCallback(telegramsim.Callback{ChatID: allowed, MessageID: 1, Data: "again:1000000-1-1-1"}).UpdateID,
	}
	r := w.once()
	if r.GetFetchedCount() != 4 || r.GetDroppedCount() != 1 || r.GetErrorCount() != 0 || r.GetAckedCount() != 4 || r.GetSentCount() != 3 {
		t.Errorf("report %v", r)
	}
	want := []store.State{store.Queued, store.Dropped, store.Skipped, store.Skipped, store.Queued, store.Skipped, store.Skipped, store.Queued}
	for i, id := range ids {
		if got := w.state(id); got != want[i] {
			t.Errorf("update %d of the batch is %s, want %s", i, got, want[i])
		}
	}
	cursor, err := w.config.Store.Cursor(t.Context())
	if err != nil || cursor.NextOffset != ids[len(ids)-1]+1 {
		t.Errorf("cursor %+v, %v", cursor, err)
	}
	commands, err := w.config.Store.Commands(t.Context())
	if err != nil || len(commands) != 2 || commands[1].TurnID != "1000000-1-1-1" || commands[1].Text != "again" || commands[1].CallbackID == "" {
		t.Errorf("commands %+v, %v", commands, err)
	}
	trace, err := w.config.Store.Trace(t.Context(), ids[1], 0)
	if err != nil || trace.Update.Text != "" || trace.Update.Reason != "chat_id not allowlisted (999)" {
		t.Errorf("of a stranger's message is kept: %+v, %v", trace.Update, err)
	}
}

func TestEchoModeAsksNoWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Echo = true
	w.say("/new hello")
	press := w.sim.InjectCallback(telegramsim.Callback{ChatID: allowed, MessageID: 1, Data: "again:1000000-1-1-1"})
	w.once()
	commands, err := w.config.Store.Commands(t.Context())
	if err != nil || len(commands) != 1 || commands[0].Kind != store.KindEcho || commands[0].Text != "/new hello" {
		t.Errorf("commands %+v, %v", commands, err)
	}
	if got := w.state(press.UpdateID); got != store.Skipped {
		t.Errorf("the button is %s", got)
	}
}

func TestRestartedUpdateIdsAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("before")
	w.once()
	w.once() // confirms it
	if err := w.sim.SetNextUpdateID(500); err != nil {
		t.Fatal(err)
	}
	w.sim.Inject(telegramsim.Incoming{ChatID: allowed, Text: "after", Date: time.Now().Add(time.Hour).Unix()})
	if r := w.once(); r.GetFetchedCount() != 1 || w.state(500) != store.Queued {
		t.Errorf("report %v", r)
	}
	if r := w.once(); r.GetFetchedCount() != 0 || w.sim.State().Pending != 0 {
		t.Errorf("report %v, Telegram still has %d", r, w.sim.State().Pending)
	}
}

func TestStaleUpdatesAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("before")
	w.once()
	w.once()
	if err := w.sim.SetNextUpdateID(500); err != nil {
		t.Fatal(err)
	}
	w.sim.Inject(telegramsim.Incoming{ChatID: allowed, Text: "old", Date: time.Now().Add(-time.Hour).Unix()})
	r := w.once()
	if r.GetFetchedCount() != 0 || r.GetReason() != "no-updates" || r.GetDroppedCount() != 1 || r.GetErrorDetails()[0].GetCode() != "stale-drop" ||
		r.GetErrorDetails()[0].GetMessage() != "dropped stale update 500 below committed floor 100000002" {
		t.Errorf("report %v", r)
	}
	if r = w.once(); r.GetDroppedCount() != 0 {
		t.Errorf("it is reported twice: %v", r)
	}
}

func TestTransientFailuresAreRetriedAndCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("hello")
	w.sim.Fail(telegramsim.Fault{Method: "getUpdates", HTML: true})
	w.sim.Fail(telegramsim.Fault{Method: "getUpdates", Reset: true})
	if r := w.once(); r.GetStatus() != "ok" || r.GetFetchedCount() != 1 || r.GetTelemetry().GetCounters().GetRetryTotal() != 2 {
		t.Errorf("report %v", r)
	}
}

func TestAFailedFetchIsAFailedCycle(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]telegramsim.Fault{
		"HTML":           {HTML: true, Count: 3},
		"truncated JSON": {TruncateJSON: true, Count: 3},
		"cut connection": {TruncateBody: true, Count: 3},
		"reset":          {Reset: true, Count: 3},
		"wrong shape":    {Body: `{"ok": true, "result": {}}`},
		"unauthorized":   {Status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := w.say("hello")
			fault.Method = "getUpdates"
			w.sim.Fail(fault)
			r := w.once()
			if r.GetStatus() != "failed" || r.GetReason() != "adapter-fetch-exception" || r.GetFetchedCount() != 0 || r.GetErrorCount() != 1 ||
				!strings.Contains(r.GetErrors()[0], "fetch_updates failed") || !r.GetErrorDetails()[0].GetRetryable() {
				t.Errorf("report %v", r)
			}
			if strings.Contains(r.String(), telegramsim.DefaultToken) {
				t.Error("the report shows the token")
			}
			w.sim.ClearFaults()
			if r = w.once(); r.GetFetchedCount() != 1 || w.state(in.UpdateID) != store.Queued {
				t.Errorf("report after it %v", r)
			}
		})
	}
}

func TestAStoreThatCannotBeWrittenLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Interval = time.Millisecond
	_, stop := w.run()
	w.say("first")
	w.await(func() bool { return len(w.woken) == 1 })
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	second := w.say("second")
	w.await(func() bool { return len(w.reports) > 0 })
	stop()
	if r := w.reports[0]; r.GetStatus() != "failed" || r.GetReason() != "runtime-process-once-exception" ||
		r.GetErrorDetails()[0].GetCode() != "runtime-process-once-exception" {
		t.Errorf("report %v", r)
	}
	w.open(nil)
	w.once()
	if got := w.state(second.UpdateID); got != store.Queued {
		t.Errorf("state = %s", got)
	}
}

func TestRunEndsWhenAnotherGatewayHasTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := poller.New(w.config)
	if _, err := w.db.Acquire(t.Context(), bot, nil); err != nil {
		t.Fatal(err)
	}
	w.say("hello")
	err := p.Run(t.Context())
	var fenced *store.FencedError
	if !errors.As(err, &fenced) {
		t.Errorf("Run() = %v", err)
	}
	if len(w.woken) != 0 {
		t.Error("a lane was woken")
	}
}

// TestAConflictHasTheLeaseAskedFor: who polls in this gateway's place may be the one
// that has taken over. There is nothing to be stored that would tell.
func TestAConflictHasTheLeaseAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.SetWebhook("https://example.org/hook")
	p := poller.New(w.config)
	if _, err := w.db.Acquire(t.Context(), bot, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var fenced *store.FencedError
	if err := p.Run(ctx); !errors.As(err, &fenced) {
		t.Errorf("Run() = %v", err)
	}
}
