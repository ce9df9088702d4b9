package heartbeat_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/heartbeat"
	"telecodex.dev/services/gateway/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post is one request that a receiver got.
type post struct {
	header http.Header
	body   string
}

// receiver keeps what it is sent and answers as it is told.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	posts []post
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil || request.Method != http.MethodPost {
			t.Errorf("%s: %v", request.Method, err)
		}
		r.mu.Lock()
		r.posts = append(r.posts, post{request.Header, string(body)})
		r.mu.Unlock()
		answer(w, request)
	}))
	t.Cleanup(r.Close)
	return r
}

func accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }

func (r *receiver) bodies() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.posts {
		all = append(all, p.body)
	}
	return all
}

// report plays one cycle and returns its report.
func report(t *testing.T, o cycle.Options, play func(*cycle.Tracker, *cycle.Cycle)) *telemetryv1.CycleReport {
	t.Helper()
	var reports []*telemetryv1.CycleReport
	tracker := cycle.NewTracker(func(r *telemetryv1.CycleReport) { reports = append(reports, r) }, o)
	play(tracker, tracker.Begin(time.Now()))
	tracker.Flush()
	if len(reports) != 1 {
		t.Fatalf("%d reports", len(reports))
	}
	return reports[0]
}

// posted plays one cycle whose failures go to a URL.
func posted(t *testing.T, o heartbeat.Options, play func(*cycle.Tracker, *cycle.Cycle)) *telemetryv1.CycleReport {
	t.Helper()
	return report(t, cycle.Options{Heartbeat: heartbeat.New(o).Post}, play)
}

func fetchFails(_ *cycle.Tracker, c *cycle.Cycle) {
	c.Fetched(cycle.Batch{Failed: errors.New("telegram getUpdates: network-error: the proxy cannot be reached")})
}

func key(id int64) store.Key { return store.Key{Generation: 1, UpdateID: id} }

func handed(ids ...int64) (updates []store.Update) {
	for _, id := range ids {
		updates = append(updates, store.Update{Key: key(id), State: store.Queued, ChatID: 1000, SessionID: "telegram:1000"})
	}
	return updates
}

// turnFails is a cycle of an answer, a failed turn and a drop.
func turnFails(t *cycle.Tracker, c *cycle.Cycle) {
	c.Fetched(cycle.Batch{Handed: handed(100000001, 100000002), Dropped: []store.Update{
		{Key: key(100000003), ChatID: 7, Reason: "chat_id not allowlisted (7)"}}})
	t.Settled(key(100000001), "telegram:1000", cycle.Result{Sent: true})
	t.Settled(key(100000002), "telegram:1000", cycle.Result{Code: cycle.CodexTimeout, Message: "TimeoutError: codex invocation timed out"})
}
