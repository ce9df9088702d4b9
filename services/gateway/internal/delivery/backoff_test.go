package delivery

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

// refusing is a Telegram that answers every call with an error, and notes when it
// was called. Unlike a connection it lets virtual time go on.
type refusing struct {
	answer string
	calls  chan time.Time
}

func (r refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	r.calls <- time.Now()
	var status int
	if _, err := fmt.Sscanf(r.answer, `{"ok":false,"error_code":%d`, &status); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Request: request, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(r.answer))}, nil
}

// The pauses between the tries of a message double up to a cap, and a message
// is tried for as long as it takes.
func TestPausesGrowUpToTheirCap(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer    string
		onSuccess bool
		want      []time.Duration // the last again and again
	}{
		"Telegram fails": {`{"ok":false,"error_code":502,"description":"Bad Gateway"}`, false,
			[]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}},
		"the chat refuses the bot": {`{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`, true,
			[]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second,
				32 * time.Second, 64 * time.Second, 128 * time.Second, 256 * time.Second, 512 * time.Second, 10 * time.Minute}},
		"Telegram says how long": {`{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":7}}`, false,
			[]time.Duration{7 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const more = 70 // far beyond where a shift could overflow
				calls := make(chan time.Time, len(tt.want)+more)
				w := refusedWorld(t, refusing{tt.answer, calls}, tt.onSuccess)
				w.post(chatID, 0, text("hello"))
				w.run() // which finds it: nobody else wakes the chat, and cuts a pause short
				last := <-calls
				for i := range len(tt.want) + more - 1 {
					next := <-calls
					if want := tt.want[min(i, len(tt.want)-1)]; next.Sub(last) != want {
						t.Fatalf("pause %d lasts %s, want %s", i+1, next.Sub(last), want)
					}
					last = next
				}
			})
		})
	}
}

// refusedWorld is a world without a simulator.
func refusedWorld(t *testing.T, telegram refusing, onSuccess bool) *world {
	t.Helper()
	w := &world{t: t, nextID: 100}
	var err error
	if w.bot, err = botapi.New(botapi.Options{Token: func() string { return telegramsim.DefaultToken }, Transport: telegram}); err != nil {
		t.Fatal(err)
	}
	if w.db, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"), zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if w.store, err = w.db.Acquire(t.Context(), store.Bot{ID: 1000000, Fingerprint: "f"}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	w.config = Config{Store: w.store, Bot: w.bot, Budget: NewBudget(0), Log: zap.NewNop(), OnSuccess: onSuccess,
		Reports: cycle.NewTracker(func(*telemetryv1.CycleReport) {}, cycle.Options{OnSuccess: onSuccess})}
	return w
}

// TestRetryAfterIsWrittenOnceTheStoreCanBe has the store refuse it at first.
func TestRetryAfterIsWrittenOnceTheStoreCanBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	core, logs := observer.New(zap.ErrorLevel)
	w.config.Log = zap.New(core)
	beside, err := sql.Open("sqlite", w.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	do := func(statement string) {
		t.Helper()
		if _, err := beside.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE TRIGGER refuses BEFORE INSERT ON chats BEGIN SELECT RAISE(ABORT, 'not now'); END")
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: chatID, RetryAfter: 3600})
	w.run()
	w.post(chatID, 0, text("late"))
	w.eventually("the store refuses", func() bool { return logs.FilterMessage("outbox cannot be written").Len() > 0 })
	do("DROP TRIGGER refuses")
	w.eventually("blocked", func() bool { b, err := w.store.BlockedChats(t.Context()); return err == nil && !b[chatID].IsZero() })
}
