package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"telecodex.dev/services/internal/freeport"
)

// maxMessage is what the contract lets a message weigh: 16 MiB.
const maxMessage = 16 << 20

// WorkerConfig says how an orchestrator is started.
type WorkerConfig struct {
	Programs Programs
	Dir      string            // its state, CODEX_HOME and workspace root lie beneath it, and stay for the next start
	Env      []string          // settings on top of those of a worker with the scripted Codex
	Dial     []grpc.DialOption // how it is called; none: without TLS
}

// Worker is an orchestrator in a process of its own.
type Worker struct {
	*Process
	Addr    string
	Metrics string // the address of its metrics
	dir     string
}

// StateDir holds the worker's journal.
func (w *Worker) StateDir() string { return filepath.Join(w.dir, "state") }

// WorkspaceRoot is a directory beneath which turns may choose theirs.
func (w *Worker) WorkspaceRoot() string { return filepath.Join(w.dir, "root") }

// StartWorker starts an orchestrator and waits until it serves.
func StartWorker(ctx context.Context, config WorkerConfig) (*Worker, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		worker, err := startWorker(ctx, config)
		// Another process may take a free port between its choice and its use.
		if err == nil || attempt == attempts || !strings.Contains(err.Error(), "address already in use") {
			return worker, err
		}
	}
}

func startWorker(ctx context.Context, config WorkerConfig) (*Worker, error) {
	addr, err := freeport.Addr()
	if err != nil {
		return nil, err
	}
	metrics, err := freeport.Addr()
	if err != nil {
		return nil, err
	}
	worker := &Worker{Addr: addr, Metrics: metrics, dir: config.Dir}
	if err := os.MkdirAll(worker.WorkspaceRoot(), 0o700); err != nil {
		return nil, err
	}
	env := []string{
		"ORCHESTRATOR_LISTEN_ADDR=" + addr,
		"ORCHESTRATOR_METRICS_ADDR=" + metrics,
		"ORCHESTRATOR_CODEX_BIN=" + config.Programs.Path("fakecodex"),
		"ORCHESTRATOR_CODEX_HOME=" + filepath.Join(config.Dir, "codex"),
		"ORCHESTRATOR_STATE_DIR=" + worker.StateDir(),
		"ORCHESTRATOR_WORKSPACE_ROOTS=" + worker.WorkspaceRoot(),
		"ORCHESTRATOR_ALLOWED_SANDBOXES=read-only,workspace-write,danger-full-access",
		"ORCHESTRATOR_DRAIN_S=1",
		"ORCHESTRATOR_LOG_LEVEL=debug",
	}
	worker.Process, err = Start(Command{Path: config.Programs.Path("orchestrator"), Env: append(env, config.Env...), Dir: config.Dir})
	if err != nil {
		return nil, err
	}
	if err := worker.serving(ctx, config.Dial); err != nil {
		return nil, errors.Join(err, worker.Kill())
	}
	return worker, nil
}

// serving waits until the worker's health says SERVING.
func (w *Worker) serving(ctx context.Context, options []grpc.DialOption) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := Dial(w.Addr, options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
		if err == nil && answer.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return nil
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
			conn.ResetConnectBackoff()
		case <-w.Done():
			return fmt.Errorf("the orchestrator left with status %d: %s%s", w.Status(), w.Stdout(), w.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("the orchestrator does not serve (%w): %s", err, w.Stderr())
		}
	}
}

// Dial returns a client of a server; it connects with the first call, without TLS
// unless an option says otherwise.
func Dial(addr string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}, options...)...)
}
