// Package lifecycle starts and ends programs: a main of one statement, a context
// that ends with SIGINT or SIGTERM, and a group of long-lived tasks that live
// and die together. Every goroutine of a service runs in such a group, so that
// nothing is left unjoined when the program returns.
package lifecycle

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Exit statuses shared by the programs.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

// Lookup reads one variable of the environment and says whether it is set, as
// os.LookupEnv does: to be set but empty is not to be unset.
type Lookup func(name string) (value string, set bool)

// Getenv reads a variable, "" when it is not set.
func (l Lookup) Getenv(name string) string {
	value, _ := l(name)
	return value
}

// Program is the body of a main function. It returns the exit status.
type Program func(ctx context.Context, args []string, env Lookup, stdout, stderr io.Writer) int

// Main runs a program with a context that ends on the first SIGINT or SIGTERM;
// a second signal then ends the process at once, as it would by default. It is
// the only place that calls os.Exit.
func Main(program Program) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		received := <-signals
		signal.Stop(signals)
		cancel(&Stopped{Signal: received})
	}()
	os.Exit(program(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// Print prints what a program was asked for and returns its exit status.
func Print(stdout io.Writer, text string) int {
	if _, err := io.WriteString(stdout, text); err != nil {
		return ExitFailed
	}
	return ExitOK
}

// Stopped is the cause of a context that a signal ended.
type Stopped struct{ Signal os.Signal }

func (s *Stopped) Error() string { return "stopped by a signal: " + s.Signal.String() }

// Status is the exit status of a program whose body returned err: one that came
// to an orderly end because of SIGTERM did as it was told (0); one that Ctrl+C or
// anything else ended, or that left work undone, was interrupted (130).
func Status(ctx context.Context, err error) int {
	var stopped *Stopped
	switch {
	case err == nil && errors.As(context.Cause(ctx), &stopped) && stopped.Signal == syscall.SIGTERM:
		return ExitOK
	case ctx.Err() != nil:
		return ExitInterrupted
	case err != nil:
		return ExitFailed
	}
	return ExitOK
}

// Group runs tasks until the first of them fails or the context ends.
type Group struct {
	group *errgroup.Group
	ctx   context.Context
}

// NewGroup returns a group whose tasks' context ends with ctx, or when a task
// returns an error.
func NewGroup(ctx context.Context) *Group {
	group, ctx := errgroup.WithContext(ctx)
	return &Group{group: group, ctx: ctx}
}

// Context is the context of the group's tasks.
func (g *Group) Context() context.Context { return g.ctx }

// Go starts a task. A task that returns nil has ended its work; the others go
// on. A task that returns an error ends the group.
func (g *Group) Go(task func(ctx context.Context) error) {
	g.group.Go(func() error { return task(g.ctx) })
}

// Wait waits for all tasks and returns the first error. The end of the context
// is not an error: it is how a service is asked to stop.
func (g *Group) Wait() error {
	if err := g.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
