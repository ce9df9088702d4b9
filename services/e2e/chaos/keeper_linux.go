package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/crashpoint"
)

// replaced is what a gateway says that leaves because it was too slow to keep its
// bot: nothing that it should not do, where there are others.
const replaced = "another gateway has taken over bot"

// keeper starts a program again and again, and sees to it that it dies as it is
// to.
type keeper struct {
	name    string
	serving string // what it says when its turn has come; empty: it always has
	start   func(env ...string) (*harness.Process, error)
	lives   Lives
	tally   *tally
	logs    string
	orders  chan struct{} // to die now
	// died is called after each death, with what the process said.
	died  func(ctx context.Context, life Life, said string)
	count int
}

// run keeps the program dying until ctx ends, and leaves it dead.
func (k *keeper) run(ctx context.Context) error {
	for ctx.Err() == nil {
		life := k.lives()
		var env []string
		if life.At != "" {
			env = []string{crashpoint.AtVariable + "=" + string(life.At), fmt.Sprintf("%s=%d", crashpoint.HitVariable, life.Hit)}
		}
		p, err := k.start(env...)
		if err != nil {
			return err
		}
		err = k.live(ctx, p, life)
		if err := k.keepLog(p); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		k.died(ctx, life, p.Stderr())
		sleep(ctx, life.Pause)
	}
	return nil
}

// live lets a process live, and die.
func (k *keeper) live(ctx context.Context, p *harness.Process, life Life) error {
	select {
	case <-k.orders: // it was for a process that has died meanwhile
	default:
	}
	if !life.Early {
		k.awaitTurn(ctx, p)
	}
	limit := time.NewTimer(life.Within)
	defer limit.Stop()
	how := "at any time"
	select {
	case <-p.Done():
		how = ""
	case <-ctx.Done():
	case <-limit.C:
		if life.Freeze > 0 {
			if err := k.freeze(ctx, p, life.Freeze); err != nil {
				return err
			}
			select {
			case <-p.Done(): // it has found another one in its place
				how = ""
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	case <-k.orders:
		how = "together with the gateway"
	}
	if err := p.Kill(); err != nil {
		return err
	}
	switch at := strings.Contains(p.Stderr(), crashpoint.Marker+string(life.At)+"\n"); {
	case life.At != "" && at:
		k.tally.count("killed at " + string(life.At))
	case how == "" && strings.Contains(p.Stderr(), replaced):
		k.tally.count("replaced by another: " + k.name)
	case how == "":
		k.tally.failed("%s (%s) left by itself with status %d: %s", k.name, k.logName(), p.Status(), tail(p.Stderr()))
	default:
		k.tally.count("killed " + how + ": " + k.name)
	}
	return nil
}

// awaitTurn waits until a program does its work: a gateway may have to stand by
// first, and one that dies before its turn has tried little.
func (k *keeper) awaitTurn(ctx context.Context, p *harness.Process) {
	const longest = 8 * time.Second
	for end := time.Now().Add(longest); k.serving != "" && time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 10*time.Millisecond) {
		if strings.Contains(p.Stderr(), k.serving) {
			return
		}
		select {
		case <-p.Done():
			return
		default:
		}
	}
}

// freeze stops a process for a time, if it still lives. It may find then that it
// was replaced, and leave.
func (k *keeper) freeze(ctx context.Context, p *harness.Process, d time.Duration) error {
	if err := signal(p, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", k.name, err)
	}
	k.tally.count("frozen: " + k.name)
	sleep(ctx, d)
	return signal(p, syscall.SIGCONT)
}

// signal sends a signal to a process that may have died meanwhile.
func signal(p *harness.Process, s syscall.Signal) error {
	if err := syscall.Kill(p.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (k *keeper) logName() string { return fmt.Sprintf("%s-%03d.log", k.name, k.count) }

// keepLog writes down what a dead process said.
func (k *keeper) keepLog(p *harness.Process) error {
	defer func() { k.count++ }()
	return os.WriteFile(filepath.Join(k.logs, k.logName()), []byte(p.Stdout()+p.Stderr()), 0o600)
}

// kill has the present process die, if it lives.
func (k *keeper) kill() {
	select {
	case k.orders <- struct{}{}:
	default:
	}
}

func tail(text string) string { return text[max(0, len(text)-600):] }
