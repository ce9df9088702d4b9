// Package metrics is the HTTP side door of a service, for those who watch it:
// /metrics for Prometheus, /healthz for "the process runs", /readyz for "it does
// its work". It holds counts, never content.
package metrics

import (
	"context"
	"crypto/tls"
	"fmt"
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

// Serve serves until the context ends. addr is "host:port" or "unix://path";
// when it is empty nothing is served, and Serve returns at once. secure is the TLS
// of the address; nil: plaintext. ready says why the service cannot do its work,
// nil when it can; its text is shown on /readyz.
func Serve(ctx context.Context, addr string, secure *tls.Config, registry *prometheus.Registry, ready func() error) error {
	if addr == "" {
		return nil
	}
	lis, err := rpc.Listen(ctx, addr)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
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
