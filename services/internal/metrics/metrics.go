// Package metrics is the HTTP side door of a service, for those who watch it:
// /metrics for Prometheus, /healthz for "the process runs", /readyz for "it does
// its work". It holds counts, never content.
package metrics

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/rpc"
)

// stopGrace is how long a running request may take when the service stops.
const stopGrace = time.Second

// NewRegistry returns a registry that already shows the process and the Go
// runtime.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Listen opens an address, "host:port" or "unix://path". Where it is empty the
// listener is nil.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	lis, err := rpc.Listen(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return lis, nil
}

// Serve is Listen and ServeOn.
func Serve(ctx context.Context, addr string, secure *tls.Config, registry *prometheus.Registry, ready func() error) error {
	lis, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	return ServeOn(ctx, lis, secure, registry, ready)
}

// ServeOn serves until the context ends, and closes the listener; where that is nil,
// nothing is served, and it returns at once. secure is the TLS of the address; nil:
// plaintext. ready says why the service cannot do its work, nil when it can; its text
// is shown on /readyz.
func ServeOn(ctx context.Context, lis net.Listener, secure *tls.Config, registry *prometheus.Registry, ready func() error) error {
	if lis == nil {
		return nil
	}
	if secure != nil {
		lis = tls.NewListener(lis, secure)
	}
	if err := lifecycle.ServeHTTP(ctx, lis, handler(registry, ready), stopGrace); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

func handler(registry *prometheus.Registry, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready()) })
	return mux
}

func answer(w http.ResponseWriter, problem error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if problem != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, problem)
		return
	}
	fmt.Fprintln(w, "ok")
}
