package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/crashpoint"
)

// install gives a worker its own Codex, so that its processes are known by their
// path.
func (r *run) install(worker int) error {
	dir := r.workerDir(worker)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	program, err := os.ReadFile(r.Programs.Path("fakecodex"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "fakecodex"), program, 0o700)
}

// containment is what a worker is to contain its turns with.
func (r *run) containment(worker int) string {
	if worker < len(r.Containment) {
		return r.Containment[worker]
	}
	return ""
}

func (r *run) workerDir(worker int) string { return filepath.Join(r.Dir, "w"+strconv.Itoa(worker)) }

func (r *run) socket(worker int) string { return "unix://" + filepath.Join(r.workerDir(worker), "s") }

func (r *run) startWorker(worker int, env ...string) (*harness.Process, error) {
	dir := r.workerDir(worker)
	return harness.Start(harness.Command{Path: r.Programs.Path("orchestrator"), Dir: dir, Env: append([]string{
		"ORCHESTRATOR_LISTEN_ADDR=" + r.socket(worker),
		"ORCHESTRATOR_METRICS_ADDR=off",
		"ORCHESTRATOR_CODEX_BIN=" + filepath.Join(dir, "fakecodex"),
		"ORCHESTRATOR_CODEX_HOME=" + filepath.Join(dir, "codex"),
		"ORCHESTRATOR_STATE_DIR=" + filepath.Join(dir, "state"),
		"ORCHESTRATOR_MAX_TURNS=8",
		"ORCHESTRATOR_DRAIN_S=5",
		"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1,FAKE_CODEX_LOG=" + r.codex,
		crashpoint.ContainmentVariable + "=" + r.containment(worker),
	}, env...)})
}

// contained says how a worker contains its turns, once it has said so itself. By
// then it has ended what it left behind in an earlier life.
func contained(said string) (how string, ok bool) {
	_, rest, ok := strings.Cut(said, `"containment":"`)
	how, _, _ = strings.Cut(rest, `"`)
	return how, ok
}

// leftBehind begins what is counted where a worker's next start had something to end.
const leftBehind = "left behind, until the next start: worker-"

// restartWorker starts a worker again. What its last life left behind has to be
// gone once it serves.
func (r *run) restartWorker(ctx context.Context, worker int, env ...string) (*harness.Process, error) {
	p, err := r.startWorker(worker, env...)
	if err != nil || len(r.left[worker]) == 0 {
		return p, err
	}
	for deadline := time.Now().Add(10 * time.Second); ctx.Err() == nil && time.Now().Before(deadline); sleep(ctx, 10*time.Millisecond) {
		if _, serves := contained(p.Stderr()); serves {
			r.orphaned(stillThere(ctx, r.left[worker]))
			r.tally.count(leftBehind + strconv.Itoa(worker))
			r.left[worker] = nil
			break
		}
		select {
		case <-p.Done(): // it died before that; the next one will do it
			return p, nil
		default:
		}
	}
	return p, nil
}

func (r *run) orphaned(processes []string) {
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	r.orphans = append(r.orphans, processes...)
}

// buried is called when a worker has died: nothing of its turns may be left. Where
// it has no namespaces, the next start of the worker sees to that.
func (r *run) buried(ctx context.Context, worker int, life Life, said string) {
	switch how, known := contained(said); {
	case how == "namespace":
		r.orphaned(remaining(context.WithoutCancel(ctx), r.workerDir(worker)))
		r.tally.count("buried, contained by: " + how)
	case known:
		r.left[worker] = mentioning(r.workerDir(worker))
		r.tally.count("buried, contained by: " + how)
	default: // it died before it could begin anything
	}
	if r.LoseTail {
		var err error
		if r.firm[worker], err = loseSince(filepath.Join(r.workerDir(worker), "state", "private", "journal.db-wal"), r.firm[worker]); err != nil {
			r.tally.failed("the disk does not lose its tail: %v", err)
		}
	}
	if life.Wipe {
		if err := r.wipe(worker, life.Keep); err != nil {
			r.tally.failed("the disk cannot be wiped: %v", err)
		}
	}
}

// wipe empties a worker's disk; keep leaves its id on it, so that it is the same
// worker with another journal.
func (r *run) wipe(worker int, keep bool) error {
	state := filepath.Join(r.workerDir(worker), "state")
	name := filepath.Join(state, "private", "worker_id")
	id, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has never come as far as to write anything
	}
	err = errors.Join(err, os.RemoveAll(state), os.RemoveAll(filepath.Join(r.workerDir(worker), "codex")))
	if err != nil || !keep {
		r.tally.count("disk wiped: worker")
		return err
	}
	r.tally.count("disk wiped: worker, but for its id")
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, id, 0o600))
}
