package telecodex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"go.uber.org/zap"
	"google.golang.org/grpc/test/bufconn"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/orchestrator"
)

// run is the bot: flags and CHANNEL_* configure the gateway, ORCHESTRATOR_* the
// worker. A gateway that names other workers gets none of its own.
func run(ctx context.Context, given command.Values, env lifecycle.Lookup, stdout, stderr io.Writer) int {
	gatewayConfig, err := gateway.NewConfig(given, env)
	workerConfig, workerErr := orchestrator.ConfigFrom(nil, env.Getenv)
	if err == nil {
		err = workerErr
	}
	own := gatewayConfig.OrchestratorAddrs == nil && gatewayConfig.OrchestratorMode != gateway.ModeDefault
	if err == nil {
		err = gatewayConfig.CheckAccess()
	}
	if err == nil && own {
		err = workerConfig.CheckPaths()
	}
	if err != nil {
		return refusal.Print(stdout, err)
	}
	log, err := logging.New(stderr, gatewayConfig.LogLevel)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return lifecycle.ExitUsage
	}
	gatewayConfig.Stdout, gatewayConfig.Log = stdout, log.Named("gateway")
	if !own {
		err = gateway.Run(ctx, gatewayConfig)
	} else {
		workerConfig.Log = log.Named("orchestrator")
		if gatewayConfig.Once && env.Getenv("ORCHESTRATOR_METRICS_ADDR") == "" {
			workerConfig.MetricsAddr = "" // as the gateway's: it may run beside another worker
		}
		workerConfig.ExtraMask = masks(
			[]string{gatewayConfig.Store, gatewayConfig.CursorStatePath, gatewayConfig.TokenFile},
			[]string{workerConfig.StateDir, workerConfig.WorkspaceDir, workerConfig.CodexHome, "."})
		err = together(ctx, gatewayConfig, workerConfig)
	}
	if err != nil && ctx.Err() == nil {
		log.Error("stopped", zap.Error(err))
	}
	return lifecycle.Status(ctx, err)
}

// inProcess is the gRPC target of the worker in the same process.
const inProcess = "passthrough:///in-process"

// together runs a gateway and its worker until the gateway has done its work
// (--once), one of them fails, or ctx ends. The gateway outlives the worker: what
// the worker finishes while it drains is still stored and answered. A single cycle
// begins when the worker has: without one it ends in a report that says so.
func together(ctx context.Context, g gateway.Config, o orchestrator.Config) error {
	listener := bufconn.Listen(1 << 20)
	o.Listener = listener
	g.OrchestratorAddrs = []string{inProcess}
	g.Dialer = func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }

	workerCtx, stopWorker := context.WithCancel(ctx)
	gatewayCtx, stopGateway := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopWorker()
	begun, worker := make(chan struct{}), make(chan error, 1)
	o.Ready = func(net.Addr) { close(begun) }
	go func() {
		err := orchestrator.Run(workerCtx, o)
		stopGateway(context.Cause(ctx))
		worker <- err
	}()
	if g.Once {
		select {
		case <-begun:
		case err := <-worker:
			if err == nil || ctx.Err() != nil {
				return err
			}
			return gateway.CouldNotBegin(ctx, g, fmt.Errorf("worker: %w", err))
		}
	}
	gatewayErr := gateway.Run(gatewayCtx, g)
	stopWorker()
	workerErr := <-worker
	// A worker that is stopped while it still opens its files says just that.
	if workerErr != nil && !errors.Is(workerErr, context.Canceled) {
		gatewayErr = errors.Join(fmt.Errorf("worker: %w", workerErr), gatewayErr)
	}
	return gatewayErr
}
