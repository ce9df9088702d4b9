package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/health"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// Main is the program of cmd/orchestrator. It logs to stderr; stdout carries only
// the report of a configuration that is refused, and what a command prints.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	page, args, err := Manual().Select(args)
	var given command.Values
	if err == nil {
		given, err = page.Parse(args)
	}
	if text := page.Asked(err); text != "" {
		return lifecycle.Print(stdout, text)
	}
	var config Config
	if err == nil {
		config, err = NewConfig(given, env.Getenv)
	}
	if err != nil {
		return refuse(stdout, err)
	}
	switch page.Word() {
	case doctorWord:
		return runDoctor(ctx, config, stdout)
	case drainWord:
		return runDrain(ctx, config, given, stdout, stderr)
	case exportWord, importWord:
		if config, err = config.prepared(); err != nil {
			return refuse(stdout, err)
		}
		if page.Word() == exportWord {
			return runExport(ctx, config, given, stdout, stderr)
		}
		return runImport(ctx, config, given, stdout, stderr)
	case health.Word:
		self, err := config.Access.Self()
		if err != nil {
			return refuse(stdout, err)
		}
		return health.Check(ctx, "orchestrator", config.ListenAddr, self, stdout)
	}
	return serve(ctx, config, stdout, stderr)
}

// serve is the worker itself.
func serve(ctx context.Context, config Config, stdout, stderr io.Writer) int {
	err := config.CheckPaths()
	if err == nil {
		err = config.CheckAccess()
	}
	if err == nil {
		config.Log, err = logging.New(stderr, config.LogLevel)
	}
	if err != nil {
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
	}{"failed", "invalid-config", command.Problem(problem)})
	if _, printErr := fmt.Fprintln(stdout, string(report)); errors.Join(err, printErr) != nil {
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitUsage
}

// Contain turns the process into the one that contains a child of a worker, when
// a worker started it as such, and then never returns; else it does nothing. It
// comes first in the main of every program that runs a worker.
func Contain() { proctree.Main() }
