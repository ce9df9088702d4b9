package delivery

import (
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

func TestOnceLeavesAMessageThatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Once = true
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, Status: 502})
	key := w.post(chatID, 0, text("hello"))
	w.run()
	if err := w.sender.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.state(key).Outbox[0]; o.State != store.Pending || o.Attempts != onceAttempts {
		t.Errorf("outbox = %+v", o)
	}
	r := w.reported(1)
	if n := r.GetTelemetry().GetCounters().GetRetryTotal(); n != onceAttempts-1 {
		t.Errorf("%d calls were made, %d of them again", onceAttempts, n)
	}
	if r.GetAckSkippedCount() != 1 || !slices.Contains(codes(r), cycle.ProcessingException) {
		t.Errorf("report = %v", r)
	}
}

func TestOnceDoesNotWaitForAChatThatIsHeldBackForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Once = true
	if err := w.store.BlockChat(t.Context(), chatID, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	key := w.post(chatID, 0, text("hello"))
	w.run()
	if err := w.sender.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.state(key).Outbox[0]; o.State != store.Pending || o.Attempts != 0 {
		t.Errorf("outbox = %+v", o)
	}
}

func TestOnceDoesNotWaitForAChatThatIsHeldBackAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Once = true
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: 1, RetryAfter: 1})
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, RetryAfter: 10})
	key := w.post(chatID, 0, text("hello"))
	w.run()
	if err := w.sender.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.state(key).Outbox[0]; o.State != store.Pending || o.Attempts != 2 {
		t.Errorf("outbox = %+v", o)
	}
}
