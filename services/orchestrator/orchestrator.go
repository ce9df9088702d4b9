// Package orchestrator is a worker: it runs Codex as a child process, turns each
// line of its output into a typed event, journals it, and streams it to gateways
// over gRPC. Any number of workers may serve one gateway; each owns its own disk.
package orchestrator

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/metrics"
	"telecodex.dev/services/internal/profiling"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/internal/tracing"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/meters"
	"telecodex.dev/services/orchestrator/internal/proctree"
	"telecodex.dev/services/orchestrator/internal/server"
	"telecodex.dev/services/orchestrator/internal/statedir"
	"telecodex.dev/services/orchestrator/internal/turn"
)

const (
	// callGrace is how long streams may take to deliver what is left once no turn
	// runs any more.
	callGrace = 5 * time.Second
	// traceGrace is how long the last spans may take to be sent.
	traceGrace = 2 * time.Second
	// pruneEvery is how often the journal drops what was acknowledged.
	pruneEvery = time.Minute
)

// Run runs a worker until the context ends: then it takes no new turns, gives
// those that run Config.Drain, stops the rest, and returns when everything is
// stored and sent.
//
// A program that calls Run must have called proctree.Main first.
func Run(ctx context.Context, c Config) error {
	if c.Listener != nil {
		defer c.Listener.Close() // a second time, unless the worker could not start
	}
	c, err := c.prepared()
	if err != nil {
		return err
	}
	w, err := open(ctx, c)
	if err != nil {
		return err
	}
	err = w.serve(ctx)
	return errors.Join(err, w.close())
}

// worker is what a running worker holds.
type worker struct {
	config     Config
	dir        *statedir.Dir
	journal    *journal.Journal
	starts     int // of the worker with this disk, this one included
	supervisor *proctree.Supervisor
	engine     codex.Engine
	manager    *turn.Manager
	server     *rpc.Server
	metricsTLS *tls.Config // nil: plaintext
	listener   net.Listener
	metrics    net.Listener // nil: none
	meter      *meters.Meter
	trace      *tracing.Tracer
}

// open takes hold of the worker's disk and ends what an earlier process of it
// left open, before anyone can ask.
func open(ctx context.Context, c Config) (w *worker, err error) {
	w = &worker{config: c, meter: meters.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = c.openDir(); err != nil {
		return w, err
	}
	if c, err = c.at(w.dir); err != nil {
		return w, err
	}
	w.config = c
	if w.starts, err = w.dir.CountStart(); err != nil {
		return w, err
	}
	for _, dir := range []string{w.dir.Home(), c.WorkspaceDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return w, fmt.Errorf("state directory: %w", err)
		}
	}
	if err := unstage(w.dir, c.WorkspaceDir); err != nil {
		c.Log.Warn("what an import has left behind cannot be cleaned up", zap.Error(err))
	}
	if w.supervisor, err = proctree.New(proctree.Options{Mode: containments[crashpoint.Containment()], StateDir: w.dir.Children()}); err != nil {
		return w, fmt.Errorf("process supervision: %w", err)
	}
	if w.trace, err = tracing.New(ctx, tracing.Options{Endpoint: c.OTLPEndpoint, Service: "telecodex-orchestrator", Instance: w.dir.WorkerID(),
		Log: c.Log.Named("tracing")}); err != nil {
		return w, err
	}
	if w.journal, err = c.openJournal(ctx, w.dir.Journal()); err != nil {
		return w, err
	}
	w.journal.Observe(w.meter.Committed)
	w.meter.Kept(func() int { return sqldb.Kept(w.dir.Journal()) })
	w.engine = codex.NewExec(codex.ExecConfig{Bin: c.CodexBin, Env: codex.Environment(c.base(w.dir.Home()), c.CodexEnv, nil), Supervisor: w.supervisor})
	w.manager = turn.NewManager(turn.Options{
		Journal: w.journal, Engine: w.engine, Slots: c.MaxTurns, Timeout: c.TurnTimeout, Idle: c.IdleTimeout, Meter: w.meter, Trace: w.trace, Log: c.Log.Named("turn"),
	})
	w.meter.Slots(func() (total, used int, draining bool) {
		status := w.manager.Status()
		return status.Total, status.Used, status.Draining
	})
	if err := w.manager.Recover(ctx); err != nil {
		return w, fmt.Errorf("end the turns of an earlier process: %w", err)
	}
	options, err := c.rpcOptions()
	if err != nil {
		return w, err
	}
	w.metricsTLS = c.Access.Metrics(c.MetricsAddr, options)
	w.meter.TLS(options.TLS.Expires, options.TLS.Refused)
	options.Refused = w.meter.Refused
	w.server = rpc.NewServer(options)
	orchestratorv1.RegisterOrchestratorServiceServer(w.server, server.New(w.serverOptions()))
	// Before anyone can ask: a worker that cannot be watched takes no turn.
	if w.metrics, err = metrics.Listen(ctx, c.MetricsAddr); err != nil {
		return w, err
	}
	if w.listener = c.Listener; w.listener == nil {
		w.listener, err = rpc.Listen(ctx, c.ListenAddr)
	}
	return w, err
}

// openJournal opens the journal. One that is damaged is kept, and a new one begun:
// gateways see by its id that what ran here is interrupted, and have people decide.
func (c Config) openJournal(ctx context.Context, path string) (*journal.Journal, error) {
	j, err := journal.Open(ctx, path)
	if sqldb.KindOf(err) != sqldb.Corrupt {
		return j, err
	}
	aside, failed := journal.SetAside(path, time.Now())
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	c.Log.Error("the journal is damaged: it was set aside and a new one is begun; turns that ran are interrupted, and people are asked what to do",
		zap.String("kept", aside), zap.Error(err))
	return journal.Open(ctx, path)
}

func (w *worker) serverOptions() server.Options {
	c := w.config
	return server.Options{
		Manager: w.manager, Journal: w.journal, Engine: w.engine,
		WorkerID: w.dir.WorkerID(), ProcessID: uuid.NewString(), Starts: w.starts, Drain: c.Drain, Containment: w.supervisor.Containment(),
		Workspaces: server.Workspaces{Root: c.WorkspaceDir, Roots: c.WorkspaceRoots},
		Sandboxes:  c.AllowedSandboxes,
		Base:       c.base(w.dir.Home()),
		Env:        c.CodexEnv,
		Mask:       c.mask(w.dir),
		Keep:       c.keep(w.dir),
		Meter:      w.meter,
		Trace:      w.trace,
	}
}

// containments are the ones that a test may ask for; any other word, or none: the
// strongest that works.
var containments = map[string]proctree.Mode{"namespace": proctree.Namespace, "cgroup": proctree.Cgroup, "scan": proctree.Scan}

// serve runs until the context ends and everything has come to an orderly end.
func (w *worker) serve(ctx context.Context) error {
	log := w.config.Log
	log.Info("serving", zap.Stringer("address", w.listener.Addr()), zap.String("worker_id", w.dir.WorkerID()), zap.String("state_dir", w.dir.Path()),
		zap.String("journal_id", w.journal.ID()), zap.String("containment", w.supervisor.Containment()))
	if w.config.Ready != nil {
		w.config.Ready(w.listener.Addr())
	}
	group := lifecycle.NewGroup(ctx)
	// Calls are served while the worker drains: the outcomes go out on them.
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	group.Go(func(ctx context.Context) error {
		defer endCalls()
		<-ctx.Done()
		log.Info("draining: running turns may end; a second signal stops at once",
			zap.Int("turns", w.manager.Status().Used), zap.Duration("patience", w.config.Drain))
		w.manager.Drain(w.config.Drain)
		return nil
	})
	group.Go(func(context.Context) error { w.showHealth(calls); return nil })
	group.Go(func(context.Context) error { return w.server.Serve(calls, w.listener, callGrace) })
	group.Go(func(ctx context.Context) error {
		return metrics.ServeOn(ctx, w.metrics, w.metricsTLS, w.meter.Registry(), w.ready)
	})
	group.Go(func(ctx context.Context) error { return profiling.Serve(ctx, w.config.PprofAddr) })
	group.Go(w.prune)
	group.Go(w.lookForCodex)
	group.Go(lifecycle.Trim)
	err := group.Wait()
	log.Info("stopped")
	return err
}

// showHealth keeps what health checks are told in step with whether the worker
// takes turns.
func (w *worker) showHealth(ctx context.Context) {
	for draining := false; ; {
		status := w.manager.Status()
		if status.Draining != draining {
			draining = status.Draining
			w.server.SetServing(!draining)
			w.config.Log.Info("whether turns are taken has changed", zap.Bool("draining", draining), zap.Int("turns", status.Used))
		}
		select {
		case <-ctx.Done():
			return
		case <-status.Changed:
		}
	}
}

// lookForCodex says at once what the first turn would otherwise find out.
func (w *worker) lookForCodex(ctx context.Context) error {
	version, err := w.engine.Version(ctx)
	switch {
	case err == nil:
		w.config.Log.Info("codex found", zap.String("version", version))
	case ctx.Err() == nil:
		w.config.Log.Warn("codex cannot be run: turns fail until ORCHESTRATOR_CODEX_BIN names one that can", zap.Error(err))
	}
	return nil
}

// prune drops what was acknowledged, now and then.
func (w *worker) prune(ctx context.Context) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		err := w.journal.Prune(ctx, time.Now(), cmp.Or(w.config.KeepTurns, defaultKeepTurns))
		if err != nil && ctx.Err() == nil {
			w.config.Log.Warn("the journal could not be pruned", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// ready says why the worker takes no turns.
func (w *worker) ready() error {
	if w.manager.Status().Draining {
		return turn.ErrDraining
	}
	return nil
}

// close gives everything back, in the opposite order.
func (w *worker) close() (err error) {
	grace, cancel := context.WithTimeout(context.Background(), traceGrace)
	defer cancel()
	w.trace.Close(grace)
	if w.metrics != nil {
		_ = w.metrics.Close() // a second time, unless the worker could not start
	}
	if w.supervisor != nil {
		err = errors.Join(err, w.supervisor.Close())
	}
	if w.journal != nil {
		err = errors.Join(err, w.journal.Close())
	}
	if w.dir != nil {
		err = errors.Join(err, w.dir.Close())
	}
	return err
}
