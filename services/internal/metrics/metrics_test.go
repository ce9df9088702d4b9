package metrics_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"telecodex.dev/services/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client talks to a Unix socket, waiting for it to appear.
func client(t *testing.T, socket string) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
		}
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func TestServe(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "m")
	registry := metrics.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "telecodex_test_total", Help: "Test."})
	registry.MustRegister(counter)
	counter.Add(3)
	var deaf atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- metrics.Serve(ctx, "unix://"+socket, nil, registry, func() error {
			if deaf.Load() {
				return errors.New("the last poll is too old")
			}
			return nil
		})
	}()
	http := client(t, socket)
	get := func(path string) (int, string) {
		t.Helper()
		response, err := http.Get("http://service" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := get("/metrics"); status != 200 || !strings.Contains(body, "telecodex_test_total 3") || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	if status, _ := get("/readyz"); status != 200 {
		t.Errorf("/readyz while ready: %d", status)
	}
	deaf.Store(true)
	if status, body := get("/readyz"); status != 503 || body != "the last poll is too old\n" {
		t.Errorf("/readyz while deaf: %d %q", status, body)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeNothingWithoutAddress(t *testing.T) {
	if err := metrics.Serve(t.Context(), "", nil, metrics.NewRegistry(), nil); err != nil {
		t.Error(err)
	}
}

func TestServeNamesTheAddressItCannotHave(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	err = metrics.Serve(t.Context(), lis.Addr().String(), nil, metrics.NewRegistry(), nil)
	if err == nil || !strings.Contains(err.Error(), lis.Addr().String()) {
		t.Errorf("Serve() = %v", err)
	}
}
