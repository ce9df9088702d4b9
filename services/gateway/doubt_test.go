package gateway

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/telegramsim"
)

// throughWire is the server's address, and leads there until a transaction that puts
// messages into the outbox is to be committed. The server does not hear of that, and
// nobody reaches it any more; cut is closed then.
func throughWire(t *testing.T, dsn string) (through string, cut chan struct{}) {
	t.Helper()
	cut = make(chan struct{})
	var posts atomic.Bool
	var once sync.Once
	through, _ = pgtest.Through(t, dsn, func(w *pgtest.Wire, message []byte) pgtest.Cut {
		if bytes.Contains(message, []byte("INSERT INTO outbox (")) {
			posts.Store(true)
		}
		if !bytes.Contains(message, []byte("commit\x00")) || !posts.CompareAndSwap(true, false) {
			return pgtest.Whole
		}
		w.Shut()
		once.Do(func() { close(cut) })
		return pgtest.Before
	})
	return through, cut
}

// TestAGatewayEndsThoughItsStoreWentAwayInACommit: whether that was carried out is
// asked for as long as anybody waits for the answer, and who is to end does not.
func TestAGatewayEndsThoughItsStoreWentAwayInACommit(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	dsn, cut := throughWire(t, server.URL(t))
	c, _ := on(t, sim, dsn, never)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "who is there"})
	select {
	case <-cut:
	case <-time.After(time.Minute):
		t.Fatal("nothing was committed")
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on asking a server that does not answer")
	}
}
