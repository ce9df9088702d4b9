package delivery

import (
	"context"
	"errors"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

// TestAMessageMarkedBeforeAFreezeIsNotSentAfterIt has another gateway take over
// between the mark and the call, which is where a frozen process would wake up.
func TestAMessageMarkedBeforeAFreezeIsNotSentAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := store.Bot{ID: 1000000, Fingerprint: "f"}
	var err error
	// With such a TTL, every call is too long after the last write.
	if w.store, err = w.db.Await(t.Context(), bot, nil, store.Terms{TTL: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	frozen, successor := w.store, (*store.Store)(nil)
	slept := make(chan error, 1)
	sleeper, err := botapi.New(botapi.Options{Token: func() string { return telegramsim.DefaultToken }, BaseURL: w.sim.URL,
		Permit: func(ctx context.Context) (err error) {
			if successor == nil { // one message, one call at a time
				successor, err = w.db.Acquire(ctx, bot, nil)
				slept <- err
			}
			return frozen.Hold(ctx)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer sleeper.CloseIdleConnections()
	w.config.Store, w.config.Bot = frozen, sleeper
	w.run()
	key := w.post(chatID, 0, text("hello"))
	if err := <-slept; err != nil {
		t.Fatal(err)
	}
	w.eventually("ended", func() bool {
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	})
	stop := w.stop
	w.stop = nil
	var fenced *store.FencedError
	if err := stop(); !errors.As(err, &fenced) {
		t.Errorf("Run = %v", err)
	}
	if calls := w.sim.Calls(telegramsim.CallFilter{Method: "sendMessage"}); len(calls) != 0 {
		t.Errorf("%d calls were made", len(calls))
	}
	inDoubt, err := successor.RecoverOutbox(t.Context())
	if err != nil || len(inDoubt) != 1 || inDoubt[0].Key != key {
		t.Errorf("in doubt: %+v, %v", inDoubt, err)
	}
}
