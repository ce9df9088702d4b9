package gateway

import (
	"context"
	"io"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
)

// Main is the program of cmd/gateway. stdout carries only cycle reports and the
// report of a configuration that is refused; everything else goes to stderr.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	config, err := ParseConfig(args, Lookup(env))
	if text := Manual().Asked(err); text != "" {
		return lifecycle.Print(stdout, text)
	}
	if err == nil {
		config.Log, err = logging.New(stderr, config.LogLevel)
	}
	if err != nil {
		return Refuse(stdout, err)
	}
	config.Stdout = stdout
	err = Run(ctx, config)
	if err != nil {
		config.Log.Error("the gateway stopped", zap.Error(err))
	}
	return lifecycle.Status(ctx, err)
}

// Refuse prints the report of a command line or configuration that is refused, and
// returns the exit status.
func Refuse(stdout io.Writer, problem error) int {
	if _, err := stdout.Write(InvalidConfig(problem)); err != nil {
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitUsage
}
