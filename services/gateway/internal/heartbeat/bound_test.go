package heartbeat

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
)

// However many events a cycle has, and wherever the receiver hangs, its report is
// handed out after two seconds, and whoever completes it does not wait at all.
func TestAReceiverThatHangsCostsTwoSecondsInAll(t *testing.T) {
	const events = 20
	for name, tt := range map[string]struct {
		dial     func(ctx context.Context, network, address string) (net.Conn, error)
		failures int32
	}{
		"before the connection": {func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, events},
		"before it reads":       {pipeTo(func(net.Conn) {}), events},
		"before its answer":     {pipeTo(func(c net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(c)) }), events},
		"within its answer, which accepts what is under way": {pipeTo(func(c net.Conn) {
			request, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
			}
		}), events - atOnce},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				poster := New(Options{URL: "http://receiver.example"})
				poster.client.Transport.(*http.Transport).DialContext = tt.dial
				var reports []*telemetryv1.CycleReport
				tracker := cycle.NewTracker(func(r *telemetryv1.CycleReport) { reports = append(reports, r) }, cycle.Options{Heartbeat: poster.Post})
				began := time.Now()
				c := tracker.Begin(began)
				var updates []store.Update
				for id := range int64(events) {
					updates = append(updates, store.Update{Key: store.Key{Generation: 1, UpdateID: id + 1}, State: store.Queued, ChatID: 1000})
				}
				c.Fetched(cycle.Batch{Handed: updates})
				for _, u := range updates {
					tracker.Settled(u.Key, "telegram:1000", cycle.Result{Code: cycle.CodexExecFailed, Message: "x"})
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("who completes the cycle waits for %s", waited)
				}
				tracker.Flush()
				if took := time.Since(began); took != 2*time.Second {
					t.Errorf("the report comes after %s", took)
				}
				if len(reports) != 1 || reports[0].GetErrorCount() != events || reports[0].GetHeartbeatEmitFailures() != tt.failures {
					t.Errorf("reports %v", reports)
				}
			})
		})
	}
}

// pipeTo dials a receiver that does something and then hangs until the connection
// is closed.
func pipeTo(receive func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		closed := make(chan struct{})
		go func() {
			defer theirs.Close()
			receive(theirs)
			<-closed
		}()
		return watched{ours, sync.OnceFunc(func() { close(closed) })}, nil
	}
}

// watched is a connection that says when it was closed.
type watched struct {
	net.Conn
	closed func()
}

func (w watched) Close() error {
	w.closed()
	return w.Conn.Close()
}
