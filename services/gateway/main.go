package gateway

import (
	"context"
	"io"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/health"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/internal/refusal"
)

// Main is the program of cmd/gateway. stdout carries only cycle reports, the
// report of a configuration that is refused, and what a command prints; everything
// else goes to stderr.
func Main(ctx context.Context, args []string, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	page, args, err := Manual().Select(args)
	var given command.Values
	if err == nil {
		given, err = page.Parse(args)
	}
	switch text := page.Asked(err); {
	case text != "":
		return lifecycle.Print(stdout, text)
	case err != nil:
		return refusal.Print(stdout, err)
	case page.Word() == health.Word:
		return healthcheck(ctx, given, Lookup(env), stdout)
	}
	return serve(ctx, given, Lookup(env), stdout, stderr)
}

// healthcheck asks the gateway that runs here. It needs to know where that
// listens, and neither its token nor who may use it.
func healthcheck(ctx context.Context, given command.Values, lookup Lookup, stdout io.Writer) int {
	raw, err := read(given, lookup)
	if err != nil {
		return refusal.Print(stdout, err)
	}
	self, err := raw.Access.Self()
	if err != nil {
		return refusal.Print(stdout, err)
	}
	return health.Check(ctx, "gateway", raw.ListenAddr, self, stdout)
}

// serve is the gateway itself.
func serve(ctx context.Context, given command.Values, lookup Lookup, stdout, stderr io.Writer) int {
	config, err := NewConfig(given, lookup)
	if err == nil {
		err = config.CheckAccess()
	}
	if err == nil {
		config.Log, err = logging.New(stderr, config.LogLevel)
	}
	if err != nil {
		return refusal.Print(stdout, err)
	}
	config.Stdout, config.LeaseTTL = stdout, crashpoint.LeaseTTL()
	err = Run(ctx, config)
	if err != nil {
		config.Log.Error("the gateway stopped", zap.Error(err))
	}
	return lifecycle.Status(ctx, err)
}
