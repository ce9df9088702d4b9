package workers_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker is a real gRPC server of which only WatchWorker works.
type worker struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	address string

	mu      sync.Mutex
	state   *orchestratorv1.WatchWorkerResponse
	changed chan struct{}
}

func (w *worker) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchWorkerResponse]) error {
	for {
		w.mu.Lock()
		state, changed := w.state, w.changed
		w.mu.Unlock()
		if err := stream.Send(state); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-changed:
		}
	}
}

func (w *worker) set(state *orchestratorv1.WatchWorkerResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	close(w.changed)
	w.changed = make(chan struct{})
}

// serve starts the worker on its address, for a new one on one that nobody else gets
// meanwhile, and returns what stops it.
func (w *worker) serve(t *testing.T) (stop func()) {
	t.Helper()
	if w.address == "" {
		var err error
		if w.address, err = freeport.Addr(); err != nil {
			t.Fatal(err)
		}
	}
	lis, err := rpc.Listen(t.Context(), w.address)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	orchestratorv1.RegisterOrchestratorServiceServer(server, w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func start(t *testing.T, id string, slots, used int32) *worker {
	w := &worker{changed: make(chan struct{}), state: state(id, slots, used)}
	w.serve(t)
	return w
}

func state(id string, slots, used int32) *orchestratorv1.WatchWorkerResponse {
	return &orchestratorv1.WatchWorkerResponse{WorkerId: id, JournalId: "journal-" + id, ProcessId: "1", SlotsTotal: slots, SlotsUsed: used}
}

func directory(t *testing.T, config workers.Config) *workers.Directory {
	t.Helper()
	config.Log = zap.NewNop()
	d, err := workers.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// answers says whether a worker can be reached.
func answers(d *workers.Directory, id string) bool {
	_, ok := d.Find(id)
	return ok
}

// eventually waits until the directory satisfies cond.
func eventually(t *testing.T, d *workers.Directory, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := d.Changed()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never: %s; workers are %+v", what, d.Workers())
		}
	}
}

func TestNewSessionsGoToTheWorkerWithTheMostFreeSlots(t *testing.T) {
	a, b := start(t, "a", 4, 3), start(t, "b", 4, 1)
	d := directory(t, workers.Config{Targets: []string{a.address, b.address}})
	eventually(t, d, "both reachable", func() bool { return answers(d, "a") && answers(d, "b") })
	// The worker's own count stays at 1: the places taken count against it.
	for i, want := range []string{"b", "b", "b"} {
		if p, ok := d.Take(""); !ok || p.Worker.ID != want {
			t.Errorf("take %d: %+v, %v; want %s", i, p, ok, want)
		}
	}
}

func TestAPlaceCountsUntilItIsReleased(t *testing.T) {
	a := start(t, "a", 1, 0)
	d := directory(t, workers.Config{Targets: []string{a.address}})
	eventually(t, d, "reachable", func() bool { return answers(d, "a") })
	p, ok := d.Take("a")
	if !ok || p.Worker.JournalID != "journal-a" {
		t.Fatalf("Take = %+v, %v", p, ok)
	}
	if _, ok := d.Take("a"); ok {
		t.Error("one slot was given twice")
	}
	p.Release()
	p.Release()
	if _, ok := d.Take(""); !ok {
		t.Error("a released slot is lost")
	}
}

func TestDrainingAndFullWorkersTakeNothing(t *testing.T) {
	a := start(t, "a", 2, 2)
	d := directory(t, workers.Config{Targets: []string{a.address}})
	eventually(t, d, "reachable", func() bool { return answers(d, "a") })
	if _, ok := d.Take("a"); ok {
		t.Error("a full worker took a turn")
	}
	draining := state("a", 2, 0)
	draining.Draining = true
	a.set(draining)
	eventually(t, d, "draining", func() bool { return d.Workers()[0].Draining })
	if _, ok := d.Take("a"); ok {
		t.Error("a draining worker took a turn")
	}
	a.set(state("a", 2, 1))
	eventually(t, d, "free again", func() bool { p, ok := d.Take("a"); p.Release(); return ok })
}

func TestAWorkerThatComesBackIsFoundAndCounted(t *testing.T) {
	a := &worker{changed: make(chan struct{}), state: state("a", 1, 0)}
	stop := a.serve(t)
	d := directory(t, workers.Config{Targets: []string{a.address}})
	eventually(t, d, "reachable", func() bool { _, ok := d.Lookup("a"); return ok })
	stop()
	eventually(t, d, "lost", func() bool { _, ok := d.Lookup("a"); return !ok && d.Workers()[0].Tried })
	again := state("a", 1, 0)
	again.ProcessId = "2"
	a.set(again)
	a.serve(t)
	eventually(t, d, "back", func() bool { return answers(d, "a") && d.Restarts() == 1 })
}

// TestAWorkerIsMissedOnlyAfterItWasTried: right after the start nobody knows.
func TestAWorkerIsMissedOnlyAfterItWasTried(t *testing.T) {
	a, b := &worker{changed: make(chan struct{}), state: state("a", 1, 0)}, start(t, "b", 1, 0)
	stop := a.serve(t)
	config := workers.Config{Targets: []string{a.address, b.address}, Log: zap.NewNop()}
	idle, err := workers.New(config) // tries nothing before Run
	if err != nil {
		t.Fatal(err)
	}
	if idle.Missed("") || idle.Missed("a") {
		t.Error("a worker is missed that was never tried")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	d := directory(t, config)
	eventually(t, d, "both reachable", func() bool { return answers(d, "a") && answers(d, "b") })
	if d.Missed("a") || d.Missed("") || !d.Missed("c") {
		t.Error("a worker that answers is missed, or one that is nowhere is not")
	}
	stop()
	eventually(t, d, "missed", func() bool { return d.Missed("a") && !d.Missed("b") && !d.Missed("") })
}

// names is a resolver whose answers a test changes.
type names struct {
	mu    sync.Mutex
	srv   []*net.SRV
	hosts []string
}

func (n *names) set(srv []*net.SRV, hosts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv, n.hosts = srv, hosts
}

func (n *names) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv == nil {
		return "", nil, &net.DNSError{IsNotFound: true}
	}
	return "", n.srv, nil
}

func (n *names) LookupHost(context.Context, string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		return nil, &net.DNSError{IsTemporary: true}
	}
	return n.hosts, nil
}

func record(t *testing.T, w *worker) *net.SRV {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	return &net.SRV{Target: addr.IP.String() + ".", Port: uint16(addr.Port)}
}

func TestAWorkerIsGoneWhenAllAnswerAndNoneIsIt(t *testing.T) {
	a, b := start(t, "a", 1, 0), start(t, "b", 1, 0)
	d := directory(t, workers.Config{Targets: []string{a.address, b.address}})
	eventually(t, d, "both are reached", func() bool { return answers(d, "a") && answers(d, "b") })
	if d.Gone("a") || d.Gone("") || !d.Gone("c") {
		t.Error("wrong about who is gone")
	}
	a.set(state("a2", 1, 0)) // its disk was replaced
	eventually(t, d, "a is gone", func() bool { return d.Gone("a") })
	away := &worker{changed: make(chan struct{}), state: state("b", 1, 0)}
	away.serve(t)()
	other := directory(t, workers.Config{Targets: []string{a.address, away.address}})
	eventually(t, other, "one is reached, the other was tried", func() bool {
		tried := 0
		for _, w := range other.Workers() {
			if w.Tried {
				tried++
			}
		}
		return tried == 2
	})
	if other.Gone("b") {
		t.Error("a worker that may be behind an address that does not answer is taken for gone")
	}
}

func TestWorkersBehindANameComeAndGo(t *testing.T) {
	a, b := start(t, "a", 1, 0), &worker{changed: make(chan struct{}), state: state("b", 1, 0)}
	stopB := b.serve(t)
	resolver := &names{}
	resolver.set([]*net.SRV{record(t, a)})
	d := directory(t, workers.Config{Targets: []string{"dns:///workers.example:7450"}, Resolver: resolver, Lookup: 10 * time.Millisecond})
	eventually(t, d, "a by SRV record", func() bool { return answers(d, "a") })

	resolver.set([]*net.SRV{record(t, a), record(t, b)})
	eventually(t, d, "b was added", func() bool { return answers(d, "b") })

	resolver.set(nil) // a failing look-up changes nothing
	resolver.set([]*net.SRV{record(t, a)})
	if _, ok := d.Lookup("b"); !ok {
		t.Error("a worker that still answers was dropped with its name")
	}
	stopB()
	eventually(t, d, "b is forgotten", func() bool { return len(d.Workers()) == 1 })
}

func TestANameWithoutRecordsStandsForItsHosts(t *testing.T) {
	a := start(t, "a", 1, 0)
	_, port, err := net.SplitHostPort(a.address)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &names{}
	resolver.set(nil, "127.0.0.1")
	d := directory(t, workers.Config{Targets: []string{"dns:///workers.example:" + port}, Resolver: resolver})
	eventually(t, d, "a by host", func() bool { return answers(d, "a") })
}

func TestBadTargetsAreRefused(t *testing.T) {
	for _, targets := range []string{"", "dns:///name-without-port"} {
		if _, err := workers.New(workers.Config{Targets: []string{"127.0.0.1:1", targets}, Log: zap.NewNop()}); err == nil {
			t.Errorf("%q was accepted", targets)
		}
	}
}
