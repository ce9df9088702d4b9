package pgtest

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Cut is what becomes of something that a client sends through a wire.
type Cut int32

// Cuts.
const (
	Whole  Cut = iota
	Before     // it never arrives, and the connection is gone
	After      // it arrives, and the connection is gone before the answer
)

// Wire leads to a server, and breaks where a test wants it to.
type Wire struct {
	listener net.Listener
	server   string
	sent     func(w *Wire, message []byte) Cut
	done     sync.WaitGroup
}

// Through returns the URL of a server by way of a wire, which ends with the test. sent
// is asked about everything that a client sends; connections ask side by side.
func Through(t testing.TB, dsn string, sent func(w *Wire, message []byte) Cut) (string, *Wire) {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{server: target.Host, sent: sent}
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
		w.Shut()
		if !t.Failed() { // else whoever went on has connections still
			w.done.Wait()
		}
	})
	target.Host = w.listener.Addr().String()
	return target.String(), w
}

// Shut lets nobody through any more; who is through already stays.
func (w *Wire) Shut() {
	_ = w.listener.Close() // it is closed, be it once more
}

func (w *Wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer server.Close()
	var silent atomic.Bool
	answered := make(chan struct{})
	w.done.Go(func() {
		defer close(answered)
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || silent.Load() {
				return // what the server said last was the answer that is cut off
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for !silent.Load() {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		switch w.sent(w, buffer[:n]) {
		case Before:
			return
		case After:
			silent.Store(true)
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
	<-answered
}
