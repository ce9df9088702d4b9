package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// Main is the program of cmd/orchestrator. It logs to stderr; stdout carries only
// the report of a configuration that is refused.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		usage(stdout)
		return lifecycle.ExitOK
	}
	config, err := ConfigFrom(args, env.Getenv)
	if err != nil {
		return refuse(stdout, err)
	}
	if config.Log, err = logging.New(stderr, config.LogLevel); err != nil {
		return refuse(stdout, err)
	}
	config.Log = config.Log.Named("orchestrator")
	if err := Run(ctx, config); err != nil {
		config.Log.Error("the worker stopped", zap.Error(err))
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

// refuse prints the one-line report of an invalid configuration.
func refuse(stdout io.Writer, problem error) int {
	report, err := json.Marshal(struct {
		Status string `json:"status"`
		Reason string `json:"reason"`
		Error  string `json:"error"`
	}{"failed", "invalid-config", problem.Error()})
	if _, printErr := fmt.Fprintln(stdout, string(report)); errors.Join(err, printErr) != nil {
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: orchestrator [--flag value …]\n\nRuns Codex for gateways. Every flag has a variable of the environment.")
	for _, s := range settings(nil) {
		fmt.Fprintf(w, "\n  %s, %s\n      %s\n", s.flag(), s.env, s.help)
		if s.fallback != "" {
			fmt.Fprintf(w, "      default: %s\n", s.fallback)
		}
	}
}

// Contain turns the process into the one that contains a child of a worker, when
// a worker started it as such, and then never returns; else it does nothing. It
// comes first in the main of every program that runs a worker.
func Contain() { proctree.Main() }
