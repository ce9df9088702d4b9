package dispatch

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"telecodex.dev/services/gateway/internal/store"
)

// TestTypingIsShownWhileATurnRunsAndNotAfterIt plays a turn of ten seconds in a time
// of its own: a chat action lasts for five, so one that came with the answer or later
// would be seen beneath it.
func TestTypingIsShownWhileATurnRunsAndNotAfterIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		turn time.Duration
		want int // at 0.3 s, 4.3 s, 8.3 s
	}{
		"over at once": {100 * time.Millisecond, 0},
		"a second":     {time.Second, 1},
		"ten seconds":  {10 * time.Second, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := virtualWorld(t)
				u := w.prompt("one")
				turn := w.turnID(u, 1)
				f.hold = func(string, uint64) bool { return true }
				w.run()
				synctest.Wait()
				equal(t, "started", f.count("start "+turn), 1)
				time.Sleep(tt.turn)
				synctest.Wait()
				equal(t, "shown while it runs", w.shown(), tt.want)
				f.set(func() { f.hold = nil })
				synctest.Wait()
				equal(t, "state", w.trace(u).Update.State, store.Finished)
				time.Sleep(time.Minute)
				equal(t, "shown in the end", w.shown(), tt.want)
				must(t, w.halt())
			})
		})
	}
}

// virtualWorld has its worker in memory, so that all of it is of a synctest bubble.
func virtualWorld(t *testing.T) (*world, *fakeWorker) {
	t.Helper()
	f := idleWorker("a")
	listener := bufconn.Listen(1 << 16)
	f.serveOn(t, listener)
	w := newWorld(t)
	w.addrs = []string{"127.0.0.1:1"} // a name would be looked up
	w.dialer = func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	return w, f
}

func (w *world) shown() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.typed
}
