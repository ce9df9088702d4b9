package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"telecodex.dev/services/internal/sqldb"
)

// wire is a connection to the server that breaks at the next commit.
type wire struct {
	listener net.Listener
	server   string
	cut      atomic.Int32
	done     sync.WaitGroup
}

const (
	whole  int32 = iota
	before       // the request never arrives
	after        // the answer never arrives
)

// throughWire is the server's address, by way of a wire.
func throughWire(t *testing.T, dsn string) (string, *wire) {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{server: target.Host}
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
	t.Cleanup(func() { _ = w.listener.Close(); w.done.Wait() })
	target.Host = w.listener.Addr().String()
	return target.String(), w
}

func (w *wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	var silent atomic.Bool
	w.done.Go(func() {
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || silent.Load() {
				return // what the server said last was the commit's answer
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	defer server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("commit\x00")) {
			switch {
			case w.cut.CompareAndSwap(before, whole):
				return
			case w.cut.CompareAndSwap(after, whole):
				silent.Store(true)
			}
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
		if silent.Load() {
			_, _ = io.Copy(io.Discard, client) // until the other direction ends
			return
		}
	}
}

func TestACommitWhoseAnswerIsLostIsAskedAbout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cut  int32
		kept bool
	}{"it was carried out": {after, true}, "it was not": {before, false}} {
		t.Run(name, func(t *testing.T) {
			dsn, wire := throughWire(t, server.URL(t))
			db := open(t, dsn, firstThere)
			group := fenced(db)
			if err := group.Write(t.Context(), note(1, "a")); err != nil {
				t.Fatal(err)
			}
			wire.cut.Store(tt.cut)
			err := group.Write(t.Context(), note(2, "b"))
			if (err == nil) != tt.kept || sqldb.InDoubt(err) || err != nil && sqldb.KindOf(err) != sqldb.Unavailable {
				t.Errorf("Write() = %v", err)
			}
			want := 2
			if tt.kept {
				want = 3
			}
			if n := count(t, db); n != want {
				t.Errorf("%d rows", n)
			}
			if err := group.Write(t.Context(), note(3, "c")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACommitRemainsInDoubtOnceNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	dsn, wire := throughWire(t, server.URL(t))
	group := fenced(open(t, dsn, firstThere))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := group.Write(ctx, func(tx *sql.Tx) error {
		defer cancel()
		wire.cut.Store(before)
		return errors.Join(note(1, "a")(tx), wire.listener.Close()) // nobody is let through any more
	})
	if !sqldb.InDoubt(err) {
		t.Errorf("Write() = %v", err)
	}
}
