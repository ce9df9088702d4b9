package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/telegramsim"
)

// Config is what a run is to be.
type Config struct {
	// Dir keeps everything that the programs write.
	Dir string
	// Programs are built with the tag crash.
	Programs harness.Programs
	Seed     uint64
	// For is how long things go wrong, or until Until says that it is enough (nil:
	// it never is); then everything may come to its end.
	For   time.Duration
	Until func(Report) bool
	// Least is how many messages are to be written meanwhile, on a machine that is
	// slow as well: then it lasts longer.
	Least int
	// Patience is how long nothing may change then.
	Patience     time.Duration
	Chats        int
	Workers      []Lives
	Rate         float64 // messages a second, over all chats
	Waiting      int     // most messages that wait for their answers
	Slow         bool    // every turn takes a while
	Drop         bool    // people drop what was interrupted: nothing is ever to run twice
	Gateways     []Lives // beyond the first they stand by
	Misbehaviour telegramsim.Misbehaviour
	// RestartIDs is how long it takes until the update ids begin anew; 0: never.
	RestartIDs time.Duration
	// Name is what the run is called in reports.
	Name string
	// Store is the gateway's CHANNEL_STORE; empty: a file of its own.
	Store string
	// Lease is how long a gateway bears with a silent one; 0: as long as it always
	// does.
	Lease time.Duration
	// Containment says how each worker contains its turns; empty, or none: as well
	// as it can.
	Containment []string
	// Env are further settings of the gateway.
	Env []string
	// LoseTail has the disk of a worker lose, with each death of the worker but the
	// first, what was written since its last one.
	LoseTail bool
	// Progress is told from time to time how far the run is; nil: nobody is.
	Progress func(string)
}

// run is one run.
type run struct {
	Config
	sim     *telegramsim.Server
	people  *people
	tally   *tally
	orphans []string
	left    [][]string // processes of each worker that its next start is to end
	firm    []int64    // how far each worker's journal was written when it died last
	codex   string     // the log of Codex
}

// Run has things go wrong for a time, lets everything come to its end, and
// reports. It fails only when it cannot tell.
func Run(ctx context.Context, c Config) (report Report, err error) {
	r := &run{Config: c, tally: &tally{}, left: make([][]string, len(c.Workers)), firm: make([]int64, len(c.Workers)), codex: filepath.Join(c.Dir, "codex.log")}
	for _, name := range []string{"logs", "left"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, name), 0o700); err != nil {
			return Report{}, err
		}
	}
	if r.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, r.sim.Close()) }()
	r.people = newPeople(r.sim, c.Seed, c.Chats, filepath.Join(c.Dir, "left"))
	r.people.slow = c.Slow
	if c.Drop {
		r.people.choices = []string{Drop}
	}
	for i := range c.Workers {
		if err := r.install(i); err != nil {
			return Report{}, err
		}
	}
	listening, deaf := context.WithCancel(ctx)
	heard := make(chan struct{})
	go func() { defer close(heard); r.people.listen(listening) }()
	defer func() { deaf(); <-heard }()
	if err := r.havoc(ctx); err != nil {
		return Report{}, err
	}
	return r.settle(ctx)
}

func (r *run) startGateway(name string, env ...string) (*harness.Process, error) {
	var workers, chats []string
	for i := range r.Workers {
		workers = append(workers, r.socket(i))
	}
	for _, id := range r.people.chats {
		chats = append(chats, strconv.FormatInt(id, 10))
	}
	store := r.Store
	if store == "" {
		store = filepath.Join(r.Dir, "gateway.db")
	}
	return harness.Start(harness.Command{Path: r.Programs.Path("gateway"), Dir: r.Dir, Env: append(append([]string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken,
		"CHANNEL_TELEGRAM_API_URL=" + r.sim.URL,
		"CHANNEL_ORCHESTRATOR_ADDR=" + strings.Join(workers, ","),
		"CHANNEL_ALLOWED_CHAT_IDS=" + strings.Join(chats, ","),
		"CHANNEL_STORE=" + store,
		"CHANNEL_CURSOR_STATE_PATH=" + filepath.Join(r.Dir, "cursor.json"),
		"CHANNEL_LONG_POLL_S=5",
		"CHANNEL_SEND_RATE=0",
		"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=unix://" + r.metricsOf(name),
		crashpoint.LeaseVariable + "=" + r.Lease.String(),
	}, r.Env...), env...)})
}

// havoc is the time in which things go wrong. In the end every program is dead.
func (r *run) havoc(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.sim.Misbehave(r.Misbehaviour)
	defer r.sim.Misbehave(telegramsim.Misbehaviour{})
	group, ctx := errgroup.WithContext(ctx)
	var workers []*keeper
	for i := range r.Workers {
		w := r.keeper(fmt.Sprintf("worker-%d", i), r.Workers[i])
		w.start = func(env ...string) (*harness.Process, error) { return r.restartWorker(ctx, i, env...) }
		w.died = func(ctx context.Context, life Life, said string) { r.buried(ctx, i, life, said) }
		workers = append(workers, w)
		group.Go(func() error { return w.run(ctx) })
	}
	for i, lives := range r.Gateways {
		g := r.keeper(fmt.Sprintf("gateway-%d", i), lives)
		g.serving = `"msg":"serving"`
		g.start = func(env ...string) (*harness.Process, error) { return r.startGateway(g.name, env...) }
		g.died = func(ctx context.Context, life Life, _ string) { together(ctx, life, workers) }
		group.Go(func() error { return g.run(ctx) })
		group.Go(func() error { r.law(ctx, g.name); return nil })
	}
	group.Go(func() error { r.people.write(ctx, r.Rate, r.Waiting); return nil })
	group.Go(func() error { r.restartIDs(ctx); return nil })
	group.Go(func() error { r.narrate(ctx); return nil })
	group.Go(func() error { return r.watch(ctx, cancel) })
	group.Go(func() error { r.last(ctx); cancel(); return nil })
	return group.Wait()
}

func (r *run) keeper(name string, lives Lives) *keeper {
	return &keeper{name: name, lives: lives, tally: r.tally, logs: filepath.Join(r.Dir, "logs"), orders: make(chan struct{}, 1)}
}

// together kills the workers with a gateway that has died, where that is planned.
func together(ctx context.Context, life Life, workers []*keeper) {
	if !life.Together {
		return
	}
	sleep(ctx, life.Lag)
	for _, w := range workers {
		w.kill()
	}
}

func (r *run) restartIDs(ctx context.Context) {
	for r.RestartIDs > 0 && ctx.Err() == nil {
		sleep(ctx, r.RestartIDs)
		if ctx.Err() == nil && r.people.restart(ctx) {
			r.tally.count("update ids began anew")
		}
	}
}

// last waits until things have gone wrong for long enough: as long as it was to be,
// and until people have written as much as they were to, if it takes twice as long.
func (r *run) last(ctx context.Context) {
	sleep(ctx, r.For)
	for end := time.Now().Add(r.For); time.Now().Before(end) && ctx.Err() == nil && r.people.written() < r.Least; {
		sleep(ctx, 100*time.Millisecond)
	}
}

// watch ends the time in which things go wrong as soon as it is enough.
func (r *run) watch(ctx context.Context, enough func()) error {
	for r.Until != nil && ctx.Err() == nil {
		sleep(ctx, 100*time.Millisecond)
		e, err := r.evidence()
		if err != nil {
			return err
		}
		if r.Until(r.report(e)) {
			enough()
		}
	}
	return nil
}

func (r *run) narrate(ctx context.Context) {
	const every = 30 * time.Second
	for r.Progress != nil && ctx.Err() == nil {
		sleep(ctx, every)
		e := r.people.evidence()
		r.Progress(fmt.Sprintf("%d messages were written, %d were sent, %d still wait", len(e.Said), len(e.Heard), r.people.waiting()))
	}
}

// evidence is everything that is known now, but for the sends in doubt.
func (r *run) evidence() (Evidence, error) {
	// First what was run: a prompt that is written meanwhile is then only not run.
	ran, err := codexsim.ReadLog(r.codex)
	e := r.people.evidence()
	e.Ran = ran
	r.tally.mu.Lock()
	e.Orphans = append(e.Orphans, r.orphans...)
	r.tally.mu.Unlock()
	return e, err
}

// report judges a run that has come to its end.
func (r *run) report(e Evidence) Report {
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	report := Report{Name: r.Name, Seed: r.Seed, Verdict: Judge(e), Done: map[string]int{}, Errors: slices.Clone(r.tally.errors)}
	maps.Copy(report.Done, r.tally.counts)
	for name, count := range r.sim.Misbehaved() {
		report.Done["Telegram: "+name] = count
	}
	for _, p := range append(crashpoint.Gateway(), crashpoint.Worker()...) {
		if r.tally.counts["killed at "+string(p)] == 0 {
			report.Unproved = append(report.Unproved, string(p))
		}
	}
	return report
}

// keep writes the evidence down, for who wants to know more than a verdict.
func (r *run) keep(e Evidence) error {
	flat := struct {
		Evidence
		InDoubt map[string]int
	}{e, map[string]int{}}
	for at, count := range e.InDoubt {
		flat.InDoubt[fmt.Sprintf("%d/%d", at.Chat, at.Message)] = count
	}
	content, err := json.Marshal(flat)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, "evidence.json"), content, 0o600)
}
