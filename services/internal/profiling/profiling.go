// Package profiling serves pprof's profiles of the running program, to those who
// are on its machine. A profile shows no argument of the command line, for a token
// may be among them.
package profiling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/rpc"
)

// CheckAddr refuses an address that other machines reach, whatever else is allowed:
// everything but unix://, localhost and IP literals of the loopback range. Empty is
// no address, and fine.
func CheckAddr(addr string) error {
	if addr != "" && !rpc.Local(addr) {
		return errors.New("must be host:port on loopback, or unix://path: profiles are not for other machines")
	}
	return nil
}

// stopGrace is how long a profile may take when the program stops.
const stopGrace = 100 * time.Millisecond

// Serve serves /debug/pprof/ until the context ends; nothing when addr is empty.
func Serve(ctx context.Context, addr string) error {
	if addr == "" {
		return nil
	}
	if err := CheckAddr(addr); err != nil {
		return fmt.Errorf("profiles: the address %w", err)
	}
	listener, err := rpc.Listen(ctx, addr)
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	if err := lifecycle.ServeHTTP(ctx, listener, handler(), stopGrace); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	return nil
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/pprof/cmdline", http.NotFoundHandler())
	return mux
}
