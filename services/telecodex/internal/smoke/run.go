// Package smoke runs the live smoke protocol: each of its cycles in a process of
// its own, as an operator would by hand, then judges what was observed and keeps
// the evidence. It runs against a simulated Telegram and a scripted Codex, or
// live, with the operator's bot, one canary chat and a person who writes in it.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/telecodex/internal/smoke/evidence"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

// ExitConditional is the exit status of CONDITIONAL; GO is lifecycle.ExitOK and
// NO-GO lifecycle.ExitFailed.
const ExitConditional = 3

// Options say what is run, and how it is shown.
type Options struct {
	Scenarios []string      // of protocol.Scenarios
	Live      bool          // the operator's bot and Codex, not the simulated ones
	Out       string        // where the run's directory is made; empty: artifacts/test-logs/tg-live-e2-<date>
	Wait      time.Duration // for each message of a person, live
	Limit     time.Duration // of a simulated run from its begin to its end; at least three seconds
	Program   string        // telecodex, which is run with --once
	Version   string        // what it says of itself
	Environ   []string      // NAME=value, of the operator
	// Scripted puts the scripted Codex into a directory and returns its path.
	Scripted func(dir string) (path string, err error)
	// FindCodex says why a worker with this environment would not find Codex.
	FindCodex func(getenv func(name string) string) error

	JSON     bool      // the verdict as one JSON object on Stdout, the rest on Stderr
	Stdout   io.Writer // what a person reads
	Stderr   io.Writer
	Terminal bool // what a person reads is a terminal

	tamper func(cycle string, env map[string]string)
}

// attempt is one try at a cycle and what came of it.
type attempt struct {
	cycle       protocol.Cycle
	try         int
	begin, end  time.Time
	observation protocol.Observation
	checks      []protocol.Check
	result      protocol.Result
	why         string // it is untested
	redacted    string // path of the redacted evidence; empty: none
	keepErr     error  // why there is none
	stderr      string // its end
}

// scene is a cycle that is ready to be run.
type scene struct {
	env   environment
	time  bounds
	world func() *protocol.World // what was seen of it; nil: nothing but the program
	close func() error
}

// stage is the world in which the cycles are run.
type stage interface {
	// set prepares a cycle in a directory of its own. Without the message that it
	// needs it returns errNoMessage, and errNoTime when none is left.
	set(ctx context.Context, c protocol.Cycle, try int, dir string) (*scene, error)
	// describe says what the world is made of, a line each.
	describe() []string
	// close leaves the world as the next run of the bot should find it.
	close(ctx context.Context) error
}

// Why a cycle is untested: nobody wrote in time, what was written was gone when
// the cycle looked, or others took all of the run's time.
var (
	errNoMessage      = errors.New("no message came in time")
	errNothingFetched = errors.New("the cycle fetched no message: does another program poll the bot?")
	errNoTime         = errors.New("no time was left of what all of a simulated run may take")
)

type run struct {
	Options
	console  *console
	redactor *evidence.Redactor
	stage    stage
	dir      string // temporary
	kept     evidence.Dir
	begin    time.Time
	attempts []*attempt
}

// Run runs the protocol. It returns the exit status of its decision, 130 when it
// was interrupted, or why it was refused or could not begin.
func Run(ctx context.Context, o Options) (status int, err error) {
	r := &run{Options: o, redactor: &evidence.Redactor{}, begin: time.Now()}
	r.console = &console{w: o.Stdout, terminal: o.Terminal}
	if o.JSON {
		r.console.w = o.Stderr
	}
	if r.dir, err = os.MkdirTemp("", "telecodex-smoke-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if r.stage, err = r.open(ctx); err != nil {
		return 0, err
	}
	base := o.Out
	if base == "" {
		base = evidence.DefaultBase(protocol.Name, r.begin)
	}
	if r.kept, err = evidence.Create(base, protocol.Name, r.begin); err != nil {
		return 0, fmt.Errorf("evidence cannot be kept: %w", err)
	}
	r.preflight()
	err = r.all(ctx)
	r.console.clear()
	if closing := r.stage.close(ctx); closing != nil && ctx.Err() == nil {
		r.console.linef("warning: %v", closing)
	}
	switch {
	case ctx.Err() != nil:
		return lifecycle.ExitInterrupted, r.giveUp()
	case err != nil:
		return 0, err
	}
	return r.conclude()
}

func (r *run) open(ctx context.Context) (stage, error) {
	if r.Live {
		return newLive(ctx, r)
	}
	return newSimulated(r)
}

// all runs the cycles of the scenarios that were asked for. Once ctx has ended
// the rest is untested.
func (r *run) all(ctx context.Context) error {
	for _, name := range protocol.Scenarios() {
		for _, c := range protocol.Cycles() {
			if c.Scenario != name {
				continue
			}
			if err := r.cycle(ctx, c); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if ctx.Err() == nil {
			r.show(name)
		}
	}
	return ctx.Err()
}

// cycle runs one cycle; one that fails live, as often as its tries allow.
func (r *run) cycle(ctx context.Context, c protocol.Cycle) error {
	if !slices.Contains(r.Scenarios, c.Scenario) {
		r.attempts = append(r.attempts, untested(c, "not asked for"))
		return nil
	}
	for try := 1; ; try++ {
		a, err := r.attempt(ctx, c, try)
		if ctx.Err() != nil && (a == nil || !a.observation.Ran) {
			a = untested(c, "interrupted")
			a.try = try
			r.attempts = append(r.attempts, a)
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if try > 1 && a.result == protocol.Untested {
			return nil // what the earlier try came to stands
		}
		if a.observation.Ran {
			r.keep(a)
		}
		r.attempts = append(r.attempts, a)
		if a.result != protocol.Fail || !r.Live || try == c.Tries || ctx.Err() != nil {
			return nil
		}
		r.detail(a)
		r.console.linef("  once more: try %d of %d", try+1, c.Tries)
	}
}

// lastTries are what the cycles of a scenario came to.
func (r *run) lastTries(name string) (last []*attempt) {
	for i, a := range r.attempts {
		final := i == len(r.attempts)-1 || r.attempts[i+1].cycle.ID != a.cycle.ID
		if a.cycle.Scenario == name && final {
			last = append(last, a)
		}
	}
	return last
}

func untested(c protocol.Cycle, why string) *attempt {
	a := &attempt{cycle: c, try: 1, why: why, checks: c.Judge(protocol.Observation{})}
	a.result = protocol.ResultOfChecks(a.checks)
	return a
}

// attempt runs a cycle once and judges it.
func (r *run) attempt(ctx context.Context, c protocol.Cycle, try int) (_ *attempt, err error) {
	dir, err := os.MkdirTemp(r.dir, c.ID+"-")
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.console.statusf("%s …", c.Title)
	scene, err := r.stage.set(ctx, c, try, dir)
	if errors.Is(err, errNoMessage) || errors.Is(err, errNoTime) {
		a := untested(c, err.Error())
		a.try = try
		return a, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scene.close()) }()
	if r.tamper != nil {
		r.tamper(c.ID, scene.env)
	}
	a := &attempt{cycle: c, try: try, begin: time.Now()}
	r.console.statusf("%s: the program runs …", c.Title)
	if a.observation, a.stderr, err = runOnce(ctx, r.Program, scene.env, scene.time); err != nil {
		return nil, err
	}
	a.end = time.Now()
	if scene.world != nil {
		a.observation.World = scene.world()
	}
	a.checks = c.Judge(a.observation)
	if a.result = protocol.ResultOfChecks(a.checks); a.result == protocol.Untested {
		a.why = errNothingFetched.Error()
	}
	return a, nil
}

// keep writes the evidence. The files of the last try have the protocol's names.
func (r *run) keep(a *attempt) {
	if last := len(r.attempts) - 1; last >= 0 && r.attempts[last].cycle.ID == a.cycle.ID {
		r.attempts[last].redacted, a.keepErr = r.kept.SetAside(a.cycle.ID, r.attempts[last].try)
	}
	path, err := r.kept.Keep(a.cycle.ID, a.observation.Stdout, a.observation.Report(), r.redactor)
	a.redacted, a.keepErr = path, errors.Join(a.keepErr, err)
	for i := range a.checks {
		a.checks[i].Observed = r.redactor.Text(a.checks[i].Observed)
	}
}

// show says what a scenario came to.
func (r *run) show(name string) {
	var results []protocol.Result
	var took time.Duration
	checks := 0
	for _, a := range r.lastTries(name) {
		results = append(results, a.result)
		took += a.end.Sub(a.begin)
		checks += len(a.checks)
	}
	r.console.linef("%-8s  %s (%d checks, %.1f s)", protocol.ResultOf(results), protocol.Title(name), checks, took.Seconds())
	for _, a := range r.lastTries(name) {
		r.detail(a)
	}
}

// detail says what was wrong with an attempt.
func (r *run) detail(a *attempt) {
	if a.keepErr != nil {
		r.console.linef("  %s, evidence: %v", a.cycle.ID, a.keepErr)
	}
	if a.why != "" {
		r.console.linef("  %s: %s", a.cycle.ID, a.why)
	}
	if a.why != "" || a.result == protocol.Pass {
		return
	}
	r.console.linef("  %s, try %d:", a.cycle.ID, a.try)
	for _, c := range a.checks {
		if c.Result != protocol.Pass {
			r.console.linef("    %s: expected %s, observed %s", c.Name, c.Expected, c.Observed)
		}
	}
	if a.stderr != "" {
		r.console.linef("  the program's log ended with:")
		r.console.indented(r.redactor.Text(a.stderr))
	}
}
