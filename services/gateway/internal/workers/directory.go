// Package workers knows the orchestrator workers: which there are, which can be
// reached, how many turns each can still take. A Codex thread lives on one
// worker's disk, so the gateway must talk to workers one by one, never to "some
// worker" behind a balancer; this package holds one connection to each and
// watches its state for as long as the gateway runs.
package workers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/rpc"
)

// Client is the contract of a worker.
type Client = orchestratorv1.OrchestratorServiceClient

// Worker is what is known of a worker.
type Worker struct {
	Address    string
	ID         string // empty until it was reached once
	JournalID  string
	ProcessID  string
	Reachable  bool
	Draining   bool // it takes no new turns
	SlotsTotal int
	SlotsUsed  int
	Restarts   int       // of its process, as far as they are known
	AwaySince  time.Time // it cannot be reached; zero: it can, or was not tried yet
	Trouble    Trouble   // what keeps it from being reached, where that is known
	// Tried says that at least one attempt to reach it has ended.
	Tried bool
}

// Config says where workers are.
type Config struct {
	// Targets are addresses that rpc.Dial understands; dns:///name:port stands
	// for every worker behind a name.
	Targets []string
	// Dial is how each of them is called.
	Dial rpc.DialOptions
	// Resolver looks names up; nil: the system's.
	Resolver Resolver
	// Lookup is the time between two look-ups of a name; 0: 10 s.
	Lookup time.Duration
	// Lost is for how long a worker may be away before others get what it was to
	// do; 0: for ever.
	Lost time.Duration
	// Known are the workers that an earlier process has met.
	Known []Process
	// Met is told of each process of a worker that is new, in the order in which
	// they are met; nil: nobody is. The directory waits for it.
	Met func(Process)
	Log *zap.Logger
}

// Directory holds a connection to each worker.
type Directory struct {
	config Config
	names  []string // host:port of dns targets

	mu      sync.Mutex
	entries map[string]*entry    // by address
	taken   map[string]int       // places held by this gateway, by worker id
	met     map[string]Process   // by worker id
	away    map[string]time.Time // since when workers cannot be reached, by id
	served  time.Time            // since when there is always one that takes turns; zero: there is none
	began   time.Time            // when Run did; zero: not yet
	changed chan struct{}
}

type entry struct {
	worker Worker
	conn   *grpc.ClientConn
	client Client
	gone   bool // the name no longer stands for it
}

// New returns a directory of the targets. Nothing is dialed before Run or the
// first call.
func New(config Config) (*Directory, error) {
	if config.Resolver == nil {
		config.Resolver = net.DefaultResolver
	}
	if config.Lookup == 0 {
		config.Lookup = 10 * time.Second
	}
	d := &Directory{config: config, entries: map[string]*entry{}, taken: map[string]int{}, met: map[string]Process{},
		away: map[string]time.Time{}, changed: make(chan struct{})}
	for _, p := range config.Known {
		d.met[p.WorkerID] = p
	}
	for _, target := range config.Targets {
		name, isName := strings.CutPrefix(target, "dns:///")
		var err error
		switch {
		case target == "":
			err = errors.New("empty worker address")
		case isName:
			_, _, err = net.SplitHostPort(name)
			d.names = append(d.names, name)
		default:
			_, err = d.add(target, "")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker address %q: %w", target, err), d.Close())
		}
	}
	return d, nil
}

// Close closes the connections; calls on them end.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, e := range d.entries {
		errs = append(errs, e.conn.Close())
	}
	clear(d.entries)
	return errors.Join(errs...)
}

// Run watches the workers until the context ends.
func (d *Directory) Run(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	d.mu.Lock()
	d.began = time.Now()
	for _, e := range d.entries {
		d.startWatch(group, e)
	}
	d.mu.Unlock()
	for _, name := range d.names {
		group.Go(func(ctx context.Context) error { return d.follow(ctx, group, name) })
	}
	return group.Wait()
}

func (d *Directory) startWatch(group *lifecycle.Group, e *entry) {
	group.Go(func(ctx context.Context) error { d.watch(ctx, e); return nil })
}

// add dials an address; the caller holds mu, or is New. name is what it was looked
// up by, if it was: a certificate holds names sooner than addresses.
func (d *Directory) add(address, name string) (*entry, error) {
	if e, ok := d.entries[address]; ok {
		return e, nil
	}
	dial := d.config.Dial
	if host, _, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) != nil {
		dial.ServerName = name
	}
	conn, err := rpc.Dial(address, dial)
	if err != nil {
		return nil, err
	}
	e := &entry{worker: Worker{Address: address}, conn: conn, client: orchestratorv1.NewOrchestratorServiceClient(conn)}
	d.entries[address] = e
	return e, nil
}

// update changes what is known and wakes who waits for it.
func (d *Directory) update(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.wake()
}

// wake wakes who waits for a change; the caller holds mu.
func (d *Directory) wake() {
	d.noteServed()
	close(d.changed)
	d.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change. Take it before
// looking, so that no change is missed.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// Workers returns all workers in the order of their addresses.
func (d *Directory) Workers() []Worker {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Worker, 0, len(d.entries))
	for _, e := range d.entries {
		w := e.worker
		w.Restarts, w.AwaySince = d.met[w.ID].Restarts, time.Time{}
		if w.Tried && !w.Reachable {
			w.AwaySince = d.awaySince(w.ID)
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Worker) int { return strings.Compare(a.Address, b.Address) })
	return all
}

// Lookup returns the client of a worker that can be reached now.
func (d *Directory) Lookup(workerID string) (Client, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.reachable(workerID); e != nil {
		return e.client, true
	}
	return nil, false
}

func (d *Directory) reachable(workerID string) *entry {
	for _, e := range d.entries {
		if workerID != "" && e.worker.ID == workerID && e.worker.Reachable {
			return e
		}
	}
	return nil
}
