package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/telegramsim"
)

// long is from what length on a run must have met everything there is to meet.
const long = 5 * time.Minute

// The programs, built once, by the first test that needs them: as they are, and
// with a gateway that can be told to break a promise.
var built, broken func() (harness.Programs, error)

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (func() error, error) {
		whole, worse := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
		if err := errors.Join(os.Mkdir(whole, 0o700), os.Mkdir(worse, 0o700)); err != nil {
			return nil, err
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
		return nil, nil
	})
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

// place is a directory with a short path, for sockets are in it. When the test
// fails, what is worth knowing of it is kept with the repository's artifacts.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			kept, err := keep(dir, t.Name())
			t.Logf("what was reported, seen and written is in %s (%v)", kept, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// keep copies the report, the evidence, and everything that the programs wrote and
// stored.
func keep(dir, name string) (to string, err error) {
	to, err = harness.Artifacts(filepath.Join("chaos", strings.ReplaceAll(name, "/", "-")+time.Now().Format("-150405")))
	if err != nil {
		return dir, err
	}
	return to, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "fakecodex" {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, below)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, below), content, 0o600)
	})
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
	if err := os.WriteFile(filepath.Join(config.Dir, "report.txt"), []byte(r.String()), 0o600); err != nil {
		t.Error(err)
	}
	return r
}

// lease and freeze: a gateway that stands still for so long is replaced, and is not
// only slow. A killed one is waited for as long on PostgreSQL.
const (
	lease  = 1500 * time.Millisecond
	freeze = 3 * time.Second
)

// TestChaos is a slice of `make chaos`, which sets CHAOS_SECONDS, and with it the
// whole of it. CHAOS_SEED replays a schedule. Both kinds of store have their run,
// at the same time; in each the second worker has one of the weaker containments.
func TestChaos(t *testing.T) {
	t.Parallel()
	// The compiler would take the time away from what runs beside it. Whether this
	// succeeds, the other test says.
	_, _ = broken()
	length := time.Duration(setting(t, "CHAOS_SECONDS", 60)) * time.Second
	seed := setting(t, "CHAOS_SEED", 1)
	for _, tt := range []struct {
		name, containment string
		store             func(*testing.T) string
	}{
		{"SQLite", "scan", func(*testing.T) string { return "" }},
		{"PostgreSQL", weaker(t), postgres},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := play(t, built, Config{
				Name: tt.name, Seed: seed, For: length, Least: messages(length), Patience: 40 * time.Second,
				Chats: 50, Rate: 6, Waiting: 300,
				Gateways:     []Lives{GatewayLives(seed, 0, freeze), GatewayLives(seed, 1, freeze)},
				Workers:      []Lives{WorkerLives(seed, 0), WorkerLives(seed, 1)},
				Misbehaviour: telegramsim.Misbehaviour{Seed: seed, PerMille: 100, Conflicts: 4, Replays: 30},
				RestartIDs:   min(length/3, time.Minute), Store: tt.store(t), Lease: lease, Containment: []string{"", tt.containment},
				Progress: func(line string) { fmt.Println(tt.name + ": " + line) },
			})
			fmt.Print(r)
			if !r.OK() {
				t.Errorf("a promise was not kept; CHAOS_SEED=%d CHAOS_SECONDS=%d replays the schedule", seed, int(length.Seconds()))
			}
			if length >= long {
				thorough(t, r, length, tt.containment)
			}
		})
	}
}

// messages are as many as a run of a length has to have: 2000 in ten minutes.
func messages(length time.Duration) int { return int(length.Seconds()) * 10 / 3 }

// thorough sees to it that a long run met everything there is to meet, its weaker
// containment included.
func thorough(t *testing.T, r Report, length time.Duration, containment string) {
	t.Helper()
	if len(r.Unproved) > 0 {
		t.Errorf("nobody died at %v", r.Unproved)
	}
	for _, what := range []string{"killed at any time: gateway-0", "killed at any time: gateway-1", "killed at any time: worker-0", "killed at any time: worker-1",
		"killed together with the gateway: worker-0", "frozen: gateway-0", "frozen: gateway-1", "disk wiped: worker", "update ids began anew", "buried, contained by: namespace",
		"buried, contained by: " + containment, leftBehind + "1",
		"Telegram: 409", "Telegram: 429", "Telegram: 500", "Telegram: 502 with HTML", "Telegram: delay", "Telegram: reset",
		"Telegram: truncated JSON, done", "Telegram: truncated body, done", "Telegram: updates again"} {
		if r.Done[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
	// A gateway that is frozen for longer than the lease finds another one in its place.
	const replaced = "replaced by another: gateway-"
	if r.Done[replaced+"0"]+r.Done[replaced+"1"] == 0 {
		t.Error("no gateway was replaced while it was frozen")
	}
	if least := messages(length); r.Verdict.Messages < least {
		t.Errorf("%d messages are too few, at least %d were to be", r.Verdict.Messages, least)
	}
}

// postgres is an empty database on a server of the test's own.
func postgres(t *testing.T) string {
	server := pgtest.New()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.URL(t)
}

// weaker is the containment that is tried where namespaces are refused: a cgroup,
// if a worker starts with it here, else the scan.
func weaker(t *testing.T) string {
	t.Helper()
	programs, err := built()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Config: Config{Dir: t.TempDir(), Programs: programs, Containment: []string{"cgroup"}}}
	if err := r.install(0); err != nil {
		t.Fatal(err)
	}
	p, err := r.startWorker(0)
	if err != nil {
		t.Fatal(err)
	}
	works := false
	for !works && t.Context().Err() == nil {
		_, works = contained(p.Stderr())
		select {
		case <-p.Done():
			return "scan"
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	return "cgroup"
}
