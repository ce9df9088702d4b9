package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// long is from what length on a run must have met everything there is to meet.
const long = 5 * time.Minute

// built are the programs, built once before the first test.
var built harness.Programs

func TestMain(m *testing.M) {
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func runTests(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// As the Makefile builds them: without cgo a program starts faster.
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil {
		return 0, err
	}
	if built, err = harness.BuildWith(context.Background(), dir, []string{"-tags=crash"}, "gateway", "orchestrator", "fakecodex"); err != nil {
		return 0, err
	}
	if status = m.Run(); status == 0 {
		err = goleak.Find()
	}
	return status, err
}

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is no number", name, text)
	}
	return n
}

// place is a directory with a short path, for sockets are in it. It stays when
// the test fails.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what the programs wrote is in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestChaos is a slice of `make chaos`, which sets CHAOS_SECONDS, and with it the
// whole of it. CHAOS_SEED replays a schedule.
func TestChaos(t *testing.T) {
	length := time.Duration(setting(t, "CHAOS_SECONDS", 25)) * time.Second
	seed := setting(t, "CHAOS_SEED", 1)
	freeze := 2 * time.Second
	if length >= long {
		freeze = 17 * time.Second // more than the lease's 15 s
	}
	r, err := Run(t.Context(), Config{
		Dir: place(t), Programs: built, Seed: seed, For: length, Patience: 40 * time.Second,
		Chats: 50, Workers: 2, Rate: 6, Waiting: 120,
		Gateway: GatewayLives(seed, freeze), Worker: func(worker int) Lives { return WorkerLives(seed, worker) },
		Misbehaviour: telegramsim.Misbehaviour{Seed: seed, PerMille: 60, Conflicts: 4, Replays: 30},
		RestartIDs:   min(length/3, time.Minute), Store: os.Getenv("CHAOS_STORE"),
		Progress: func(line string) { fmt.Println(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Print(r)
	if !r.OK() {
		t.Errorf("a promise was not kept; CHAOS_SEED=%d CHAOS_SECONDS=%d replays the schedule", seed, int(length.Seconds()))
	}
	if length >= long && len(r.Unproved) > 0 {
		t.Errorf("nobody died at %v", r.Unproved)
	}
}
