package gateway

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// wire leads to a server until a transaction that puts messages into the outbox is to
// be committed. The server does not hear of it, and nobody reaches it any more.
type wire struct {
	listener net.Listener
	server   string
	cut      chan struct{} // closed then
	done     sync.WaitGroup
	posts    atomic.Bool
}

// throughWire is the server's address, by way of a wire.
func throughWire(t *testing.T, dsn string) (string, *wire) {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{server: target.Host, cut: make(chan struct{})}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	w.done.Go(func() {
		for {
			client, err := w.listener.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = w.listener.Close()
		if !t.Failed() { // else whoever went on has his connections still
			w.done.Wait()
		}
	})
	target.Host = w.listener.Addr().String()
	return target.String(), w
}

func (w *wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer server.Close()
	w.done.Go(func() {
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("INSERT INTO outbox (")) {
			w.posts.Store(true)
		}
		if bytes.Contains(buffer[:n], []byte("commit\x00")) && w.posts.CompareAndSwap(true, false) {
			_ = w.listener.Close()
			close(w.cut)
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestAGatewayEndsThoughItsStoreWentAwayInACommit: whether that was carried out is
// asked for as long as anybody waits for the answer, and who is to end does not.
func TestAGatewayEndsThoughItsStoreWentAwayInACommit(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	dsn, wire := throughWire(t, server.URL(t))
	c, _ := on(t, sim, dsn, never)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "who is there"})
	select {
	case <-wire.cut:
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
