package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/codexsim"
)

const (
	// backendEnv is what the suite's own worker hands to every Codex.
	backendEnv = "C2_SHARED=backend,C2_BACKEND=backend"
	// parentEnv is in the environment of the suite's own worker, not of its Codex.
	parentEnv = "C2_PARENT=parent"
	// promptMark begins every prompt that a request holds unless a test sets its own.
	promptMark = "PROMPT_DO_NOT_LOG"
	// slots is how many turns the suite's own worker runs at once.
	slots = 8
)

// target is the worker under test.
type target struct {
	conn     *grpc.ClientConn
	client   orchestratorv1.OrchestratorServiceClient
	own      *harness.Worker // nil: somebody else's
	programs harness.Programs
	shared   string // a directory the worker sees too; empty: none
}

// underTest is set once, before the first test.
var underTest *target

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (finish func() error, err error) {
		flag.Parse()
		if err := leaveOut(); err != nil {
			return nil, err
		}
		if underTest, err = newTarget(context.Background(), dir); err != nil {
			return nil, err
		}
		return underTest.close, nil
	})
}

// Tests whose names begin so are no part of a run against somebody else's worker.
const (
	needsOwn    = "^TestOwnWorker" // they start and stop workers
	needsShared = "^TestSharedDir" // they read a file that the worker's Codex wrote
)

// leaveOut leaves out what cannot be asked of the worker at ADDR, and says so. Such
// tests are not skipped: they do not belong to the run.
func leaveOut() error {
	if os.Getenv("ADDR") == "" {
		return nil
	}
	out := []string{needsOwn}
	if os.Getenv("SHARED_DIR") == "" {
		out = append(out, needsShared)
	}
	names, err := named(out)
	if err != nil {
		return err
	}
	fmt.Println("left out:", strings.Join(names, ", ")) // which make conformance shows at its end
	if f := flag.Lookup("test.skip"); f.Value.String() != "" {
		out = append(out, f.Value.String())
	}
	return flag.Set("test.skip", strings.Join(out, "|"))
}

// named are the tests whose names match one of some patterns.
func named(patterns []string) (names []string, err error) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		return nil, err
	}
	match := regexp.MustCompile(strings.Join(patterns, "|"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllSubmatch(text, -1) {
			if match.Match(f[1]) {
				names = append(names, string(f[1]))
			}
		}
	}
	return names, nil
}

func newTarget(ctx context.Context, dir string) (*target, error) {
	w := &target{shared: fromRoot(os.Getenv("SHARED_DIR"))}
	options, err := access()
	if err != nil {
		return nil, err
	}
	addr := os.Getenv("ADDR")
	if addr == "" {
		options = nil
		if w.programs, err = harness.Build(ctx, dir, "orchestrator", "fakecodex"); err != nil {
			return nil, err
		}
		if w.own, err = startOwn(ctx, w.programs, filepath.Join(dir, "worker")); err != nil {
			return nil, err
		}
		addr, w.shared = w.own.Addr, filepath.Join(dir, "shared")
		if err := os.Mkdir(w.shared, 0o700); err != nil {
			return nil, errors.Join(err, w.own.Kill())
		}
	}
	if w.conn, err = harness.Dial(addr, options...); err != nil {
		return nil, err
	}
	w.client = orchestratorv1.NewOrchestratorServiceClient(w.conn)
	return w, nil
}

// startOwn starts the project's own worker; its state lies in dir.
func startOwn(ctx context.Context, programs harness.Programs, dir string, env ...string) (*harness.Worker, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	settings := []string{
		parentEnv,
		"ORCHESTRATOR_CODEX_ENV=" + backendEnv,
		fmt.Sprintf("ORCHESTRATOR_MAX_TURNS=%d", slots),
	}
	return harness.StartWorker(ctx, harness.WorkerConfig{Programs: programs, Dir: dir, Env: append(settings, env...)})
}

func (w *target) close() error {
	err := w.conn.Close()
	if w.own != nil {
		err = errors.Join(err, w.own.Stop(20*time.Second))
		err = errors.Join(err, checkLog(w.own.Stdout()+w.own.Stderr()))
	}
	return err
}

// checkLog holds everything that a worker wrote to what is true whatever it did.
func checkLog(log string) error {
	var err error
	for _, secret := range []string{promptMark, codexsim.RawLineSecret, codexsim.StderrSecret} {
		if strings.Contains(log, secret) {
			err = errors.Join(err, fmt.Errorf("the worker's log holds %q", secret))
		}
	}
	if strings.Contains(log, "WARNING: DATA RACE") {
		err = errors.Join(err, errors.New("data race in the worker: "+log))
	}
	return err
}

// worker starts a worker of the test's own, which ends with the test. The same
// dir is the same worker started again.
func (w *target) worker(t *testing.T, dir string, env ...string) *target {
	t.Helper()
	if w.own == nil {
		t.Fatal("the worker at ADDR is not the suite's to start and stop: the test's name must begin with TestOwnWorker")
	}
	own, err := startOwn(t.Context(), w.programs, dir, env...)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := harness.Dial(own.Addr)
	if err != nil {
		t.Fatal(err)
	}
	second := &target{conn: conn, client: orchestratorv1.NewOrchestratorServiceClient(conn), own: own, programs: w.programs, shared: w.shared}
	t.Cleanup(func() {
		if err := second.close(); err != nil {
			t.Error(err)
		}
	})
	return second
}
