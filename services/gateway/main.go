package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
)

// Main is the program of cmd/gateway. stdout carries only cycle reports and the
// report of a configuration that is refused; everything else goes to stderr.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	config, err := ParseConfig(args, Lookup(env))
	if errors.Is(err, ErrHelp) {
		fmt.Fprint(stdout, "Usage: gateway [--flag value …]\n\nServes a Telegram bot. Every flag has a variable of the environment.\n\n", Usage())
		return lifecycle.ExitOK
	}
	if err == nil {
		config.Log, err = logging.New(stderr, config.LogLevel)
	}
	if err != nil {
		if _, err := stdout.Write(InvalidConfig(err)); err != nil {
			return lifecycle.ExitFailed
		}
		return lifecycle.ExitUsage
	}
	config.Stdout = stdout
	err = Run(ctx, config)
	if err != nil && !errors.Is(err, ErrCycleFailed) {
		config.Log.Error("the gateway stopped", zap.Error(err))
	}
	return lifecycle.Status(ctx, err)
}

// fatal says that the store was lost to another gateway.
func fatal(err error) bool {
	fenced := (*store.FencedError)(nil)
	return errors.As(err, &fenced)
}
