package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGroupEndsAllTasksWithTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	g := lifecycle.NewGroup(t.Context())
	g.Go(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.Go(func(context.Context) error { return broken })
	if err := g.Wait(); !errors.Is(err, broken) {
		t.Fatalf("Wait() = %v, want %v", err, broken)
	}
}

func TestGroupTreatsCancellationAsAnOrderlyEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := lifecycle.NewGroup(ctx)
	g.Go(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatalf("Wait() = %v, want nil", err)
	}
}

func TestGroupGoesOnWhenATaskHasDoneItsWork(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := lifecycle.NewGroup(ctx)
	done := make(chan struct{})
	g.Go(func(context.Context) error { close(done); return nil })
	g.Go(func(ctx context.Context) error {
		<-done
		if ctx.Err() != nil {
			t.Error("the group ended with its first finished task")
		}
		cancel()
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestStatusTellsHowAProgramEnded(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"work done", t.Context(), nil, lifecycle.ExitOK},
		{"failed", t.Context(), errors.New("broken"), lifecycle.ExitFailed},
		{"Ctrl+C", ended(&lifecycle.Stopped{Signal: os.Interrupt}), nil, lifecycle.ExitInterrupted},
		{"SIGTERM", ended(&lifecycle.Stopped{Signal: syscall.SIGTERM}), nil, lifecycle.ExitOK},
		{"SIGTERM with work left", ended(&lifecycle.Stopped{Signal: syscall.SIGTERM}), errors.New("cut off"), lifecycle.ExitInterrupted},
		{"another end", ended(nil), nil, lifecycle.ExitInterrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lifecycle.Status(tt.ctx, tt.err); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}
