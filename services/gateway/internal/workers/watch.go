package workers

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/lifecycle"
)

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 5 * time.Second
	// silence is how long a worker may say nothing; it beats every ten seconds.
	silence = 35 * time.Second
)

// watch follows one worker's state, reconnecting for ever.
func (d *Directory) watch(ctx context.Context, e *entry) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		heard, err := d.listen(ctx, e)
		if ctx.Err() != nil {
			break
		}
		d.lost(e, heard, err)
		if heard {
			backoff = firstBackoff
		}
		if d.forget(e) {
			return
		}
		lifecycle.Sleep(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, lastBackoff)
		// gRPC's own backoff grows to two minutes.
		e.conn.ResetConnectBackoff()
	}
}

// listen reads one WatchWorker stream to its end and says whether it brought
// anything.
func (d *Directory) listen(ctx context.Context, e *entry) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := e.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		return false, err
	}
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	for {
		state, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		heard = true
		quiet.Reset(silence)
		d.heard(e, state)
	}
}

func (d *Directory) heard(e *entry, state *orchestratorv1.WatchWorkerResponse) {
	now := Process{WorkerID: state.GetWorkerId(), ProcessID: state.GetProcessId(), Starts: int(state.GetStartCount())}
	var before, after Worker
	var fresh bool
	d.update(func() {
		before = e.worker
		fresh = d.meet(now)
		now = d.met[now.WorkerID]
		e.worker = Worker{
			Address: before.Address, ID: state.GetWorkerId(), JournalID: state.GetJournalId(), ProcessID: state.GetProcessId(),
			Reachable: true, Draining: state.GetDraining(), Tried: true,
			SlotsTotal: int(state.GetSlotsTotal()), SlotsUsed: int(state.GetSlotsUsed()),
		}
		after = e.worker
		if before.Reachable && before.ID != after.ID {
			d.leave(before.ID)
		}
	})
	if fresh && d.config.Met != nil {
		d.config.Met(now)
	}
	log := d.config.Log.With(zap.String("address", after.Address), zap.String("worker", after.ID))
	if !before.Reachable {
		log.Info("worker reached", zap.Int("slots", after.SlotsTotal))
	}
	if before.ID == after.ID && before.JournalID != after.JournalID {
		log.Warn("worker has another journal; its disk was replaced")
	}
	if before.Draining != after.Draining {
		log.Info("worker drains", zap.Bool("draining", after.Draining))
	}
}

func (d *Directory) lost(e *entry, heard bool, err error) {
	var before Worker
	trouble, _ := TroubleOf(err)
	d.update(func() {
		before = e.worker
		e.worker.Reachable, e.worker.Tried, e.worker.Trouble = false, true, trouble
		if before.Reachable {
			d.leave(before.ID)
		}
	})
	if heard || !before.Tried || trouble != before.Trouble {
		log := d.config.Log.With(zap.String("address", before.Address))
		if trouble != (Trouble{}) {
			log = log.With(zap.String("why", trouble.What), zap.String("mend", trouble.Mend))
		}
		log.Warn("worker cannot be reached", zap.Error(err))
	}
}

// forget drops an entry that the name no longer stands for and that cannot be
// reached. One that still answers is kept: a worker leaves its name before it
// has finished its turns.
func (d *Directory) forget(e *entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !e.gone {
		return false
	}
	delete(d.entries, e.worker.Address)
	d.wake()
	_ = e.conn.Close() // it is down already
	return true
}

// Resolver looks names up; net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// follow keeps the entries of a name in step with what it stands for. gRPC's own
// resolver looks again only when a connection breaks, so it never notices an
// added worker.
func (d *Directory) follow(ctx context.Context, group *lifecycle.Group, name string) error {
	mine := map[string]*entry{}
	for ctx.Err() == nil {
		addresses, err := lookup(ctx, d.config.Resolver, name)
		if err != nil && ctx.Err() == nil {
			d.config.Log.Warn("workers cannot be looked up", zap.String("name", name), zap.Error(err))
		}
		if err == nil {
			d.reconcile(group, name, mine, addresses)
		}
		lifecycle.Sleep(ctx, d.config.Lookup)
	}
	return nil
}

func (d *Directory) reconcile(group *lifecycle.Group, name string, mine map[string]*entry, addresses []string) {
	host, _, _ := net.SplitHostPort(name) // it was looked up
	d.mu.Lock()
	defer d.mu.Unlock()
	for address, e := range mine {
		if e.gone = !slices.Contains(addresses, address); e.gone && d.entries[address] != e {
			delete(mine, address)
		}
	}
	for _, address := range addresses {
		if d.entries[address] != nil {
			continue
		}
		e, err := d.add(address, host)
		if err != nil {
			d.config.Log.Warn("worker cannot be dialed", zap.String("address", address), zap.Error(err))
			continue
		}
		mine[address] = e
		d.startWatch(group, e)
	}
}

// lookup returns the addresses a name stands for: its SRV records, else its
// hosts with the port given.
func lookup(ctx context.Context, resolver Resolver, name string) ([]string, error) {
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var addresses []string
	if _, records, err := resolver.LookupSRV(ctx, "", "", host); err == nil && len(records) > 0 {
		for _, r := range records {
			addresses = append(addresses, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
		return addresses, nil
	}
	hosts, err := resolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		addresses = append(addresses, net.JoinHostPort(h, port))
	}
	return addresses, nil
}
