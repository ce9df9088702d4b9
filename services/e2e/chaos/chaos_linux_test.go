package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// long is from what length on a run must have met everything there is to meet.
const long = 5 * time.Minute

// The programs, built once, by the first test that needs them: as they are, and
// with a gateway that can be told to break a promise.
var built, broken func() (harness.Programs, error)

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
	whole, worse := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	if err := errors.Join(os.Mkdir(whole, 0o700), os.Mkdir(worse, 0o700)); err != nil {
		return 0, err
	}
	built = sync.OnceValues(func() (harness.Programs, error) {
		return harness.BuildWith(context.Background(), whole, []string{"-tags=crash"}, "gateway", "orchestrator", "fakecodex")
	})
	broken = sync.OnceValues(func() (harness.Programs, error) {
		whole, err := built()
		if err != nil {
			return whole, err
		}
		return buildBroken(context.Background(), whole, worse)
	})
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

// play has a run of programs.
func play(t *testing.T, programs func() (harness.Programs, error), config Config) Report {
	t.Helper()
	var err error
	if config.Programs, err = programs(); err != nil {
		t.Fatal(err)
	}
	config.Dir = place(t)
	r, err := Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestChaos is a slice of `make chaos`, which sets CHAOS_SECONDS, and with it the
// whole of it. CHAOS_SEED replays a schedule.
func TestChaos(t *testing.T) {
	t.Parallel()
	// The compiler would take the time away from what runs beside it. Whether this
	// succeeds, the other test says.
	_, _ = broken()
	length := time.Duration(setting(t, "CHAOS_SECONDS", 25)) * time.Second
	seed := setting(t, "CHAOS_SEED", 1)
	freeze := 2 * time.Second
	if length >= long {
		freeze = 17 * time.Second // more than the lease's 15 s
	}
	r := play(t, built, Config{
		Seed: seed, For: length, Patience: 40 * time.Second,
		Chats: 50, Rate: 6, Waiting: 300,
		Gateways:     []Lives{GatewayLives(seed, 0, freeze), GatewayLives(seed, 1, freeze)},
		Workers:      []Lives{WorkerLives(seed, 0), WorkerLives(seed, 1)},
		Misbehaviour: telegramsim.Misbehaviour{Seed: seed, PerMille: 100, Conflicts: 4, Replays: 30},
		RestartIDs:   min(length/3, time.Minute), Store: os.Getenv("CHAOS_STORE"),
		Progress: func(line string) { fmt.Println(line) },
	})
	fmt.Print(r)
	if !r.OK() {
		t.Errorf("a promise was not kept; CHAOS_SEED=%d CHAOS_SECONDS=%d replays the schedule", seed, int(length.Seconds()))
	}
	if length >= long && len(r.Unproved) > 0 {
		t.Errorf("nobody died at %v", r.Unproved)
	}
}
