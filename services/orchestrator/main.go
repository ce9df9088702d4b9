package orchestrator

import (
	"context"
	"io"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/health"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/internal/refusal"
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
		return refusal.Print(stdout, err)
	}
	switch page.Word() {
	case doctorWord:
		return runDoctor(ctx, config, stdout)
	case drainWord:
		return runDrain(ctx, config, given, stdout, stderr)
	case exportWord, importWord:
		if config, err = config.prepared(); err != nil {
			return refusal.Print(stdout, err)
		}
		if page.Word() == exportWord {
			return runExport(ctx, config, given, stdout, stderr)
		}
		return runImport(ctx, config, given, stdout, stderr)
	case health.Word:
		self, err := config.Access.Self()
		if err != nil {
			return refusal.Print(stdout, err)
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
		return refusal.Print(stdout, err)
	}
	config.Log = config.Log.Named("orchestrator")
	if err := Run(ctx, config); err != nil {
		config.Log.Error("the worker stopped", zap.Error(err))
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

// Contain turns the process into the one that contains a child of a worker, when
// a worker started it as such, and then never returns; else it does nothing. It
// comes first in the main of every program that runs a worker.
func Contain() { proctree.Main() }
