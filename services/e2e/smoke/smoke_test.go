package smoke

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
)

func TestSimulated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.start([]string{"smoke", "--simulated", "--limit-s", "100"})
	if status := b.ends(p); status != 0 {
		t.Errorf("status %d", status)
	}
	if out := p.Stdout(); strings.Count(out, "\nPASS ") != 4 || strings.Count(out, "\nGO: ") != 1 || p.Stderr() != "" {
		t.Errorf("it printed\n%s%s", out, p.Stderr())
	}
	if files := b.evidence(); len(files) != 11 {
		t.Errorf("evidence: %d files", len(files))
	}
}

// What --out names is where everything is, for its owner alone whatever the umask.
func TestOut(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]string{"beneath here": "a/b", "anywhere": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p := b.start([]string{"smoke", "--simulated", "--limit-s", "100", "--scenario", "S2,S4", "--out", out})
			if status := b.ends(p); status != 3 {
				t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
			}
			place := out
			if !filepath.IsAbs(out) {
				place = filepath.Join(b.dir, out)
			}
			runs, err := os.ReadDir(place)
			if err != nil || len(runs) != 1 || !regexp.MustCompile(`^tg-live-e2-\d{8}T\d{6}Z$`).MatchString(runs[0].Name()) {
				t.Fatalf("%v, %v", runs, err)
			}
			if said := "\nevidence: " + filepath.Join(out, runs[0].Name()) + "\n"; !strings.Contains(p.Stdout(), said) {
				t.Errorf("it does not say %q:\n%s", said, p.Stdout())
			}
			want := []string{"S2-telegram-transient-fetch.json", "S2-telegram-transient-fetch.redacted.json", "S4-allowlist-drop.json",
				"S4-allowlist-drop.redacted.json", "evidence.md"}
			files, err := os.ReadDir(filepath.Join(place, runs[0].Name()))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, entry := range append(files, runs[0]) {
				info, err := entry.Info()
				if err != nil || runtime.GOOS != "windows" && info.Mode()&0o077 != 0 || entry.Type().IsRegular() && runtime.GOOS != "windows" && info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", entry.Name(), info.Mode(), err)
				}
				if entry.Type().IsRegular() {
					names = append(names, entry.Name())
				}
			}
			if !slices.Equal(names, want) {
				t.Errorf("there are %q, want %q", names, want)
			}
			if _, err := os.Stat(filepath.Join(b.dir, "artifacts")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it writes where it usually does: %v", err)
			}
		})
	}
}

// Settings that are meant for a real bot reach no simulated cycle.
func TestSimulatedDespiteSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.start([]string{"smoke", "--simulated", "--limit-s", "100"}, "CHANNEL_TOKEN=1:x", "CHANNEL_STORE=/nonexistent/x", "CHANNEL_ACK_POLICY=bogus", "CHANNEL_ORCHESTRATOR_ADDR=127.0.0.1:9",
		"ORCHESTRATOR_STATE_DIR=/nonexistent/x", "ORCHESTRATOR_CODEX_BIN=/nonexistent/codex", "NO_PROXY=*", "no_proxy=*", "https_proxy=http://127.0.0.1:1", "CODEX_HOME=/nonexistent/x")
	if status := b.ends(p); status != 0 {
		t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.live([]string{"--json"})
	b.writes(p, p.Stderr, 4) // S1, both injections of S3, S4
	if status := b.ends(p); status != 0 || !strings.HasPrefix(p.Stdout(), `{"protocol":"tg-live-e2",`) {
		t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
	}
	if sent := b.sim.Messages(0); len(sent) != 1 || b.sim.State().Pending != 0 {
		t.Errorf("the bot said %+v, %d messages are left", sent, b.sim.State().Pending)
	}
	redacted := 0
	for name, text := range b.evidence() {
		if strings.HasSuffix(name, ".redacted.json") {
			redacted++
		} else if strings.HasSuffix(name, ".json") {
			continue // the operator's own
		}
		for _, secret := range []string{token, "BBLiveToken", "8000000002", "8100000043", "8100000044", "own words"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", name, secret)
			}
		}
	}
	if redacted != 5 {
		t.Errorf("%d redacted files", redacted)
	}
	if strings.Contains(p.Stdout()+p.Stderr(), "BBLiveToken") || strings.Contains(p.Stdout()+p.Stderr(), "own words") {
		t.Errorf("it prints\n%s%s", p.Stdout(), p.Stderr())
	}
}

// With separate services the turns run at the worker, but for the one that needs
// a PATH without Codex.
func TestLiveWithAWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	worker, err := harness.StartWorker(t.Context(), harness.WorkerConfig{Programs: built, Dir: filepath.Join(b.dir, "worker")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Stop(patience); err != nil {
			t.Error(err)
		}
	})
	p := b.live(nil, "CHANNEL_ORCHESTRATOR_ADDR="+worker.Addr)
	b.writes(p, p.Stdout, 4)
	if status := b.ends(p); status != 0 {
		t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
	}
	if threads, err := os.ReadDir(filepath.Join(b.dir, "worker", "codex", "sessions")); err != nil || len(threads) == 0 {
		t.Errorf("the worker's Codex has %d threads, %v", len(threads), err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "codex_home")); err == nil {
		t.Error("Codex ran beside the worker")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		args, env  []string
	}{
		{"two chats", "exactly one allowlisted canary chat; allowed_chat_ids names 2", nil, []string{"CHANNEL_TOKEN=1:x", "CHANNEL_ALLOWED_CHAT_IDS=1,2"}},
		{"live without a token", "token must be a non-empty string", []string{"--live"}, nil},
		{"live and simulated", "exclude each other", []string{"--live", "--simulated"}, nil},
		{"no such scenario", "--scenario must be all, or a list of S1,S2,S3,S4", []string{"--scenario", "S1,S5"}, nil},
		{"no patience", "--wait-s must be", []string{"--wait-s", "0"}, nil},
		{"no time", "--limit-s must be an integer between 3 and 86400", []string{"--limit-s", "2"}, nil},
		{"no such flag", "unknown argument: --fast", []string{"--fast"}, nil},
		{"no place for evidence", "evidence cannot be kept", []string{"--out", "smoke_file/x"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.write("smoke_file", "a file is no directory")
			p := b.start(append([]string{"smoke"}, tt.args...), tt.env...)
			if status := b.ends(p); status != 2 || !strings.HasPrefix(p.Stdout(), `{"status":"failed","reason":"invalid-config","error":"`) || !strings.Contains(p.Stdout(), tt.want) {
				t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
			}
		})
	}
}
