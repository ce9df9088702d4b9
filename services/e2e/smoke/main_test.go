package smoke

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// patience bounds every wait.
const patience = time.Minute

var built harness.Programs

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (func() error, error) {
		var err error
		built, err = harness.Build(context.Background(), dir, "telecodex", "orchestrator", "fakecodex")
		return nil, err
	})
}

const (
	token  = "8000000002:BBLiveTokenOfTheTest_0123456789abcdef"
	chat   = 8100000043
	person = 8100000044
	words  = "a canary's own words"
)

// bench is where the program is run: a directory of its own, and one for what is
// temporary.
type bench struct {
	t         *testing.T
	dir, temp string
	program   string
	sim       *telegramsim.Server // live
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), temp: t.TempDir(), program: built.Path("telecodex")}
	t.Cleanup(func() {
		if left, err := os.ReadDir(b.temp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return b
}

// start starts the program; settings of this test's own environment do not reach
// it.
func (b *bench) start(args []string, env ...string) *harness.Process {
	b.t.Helper()
	p, err := harness.Start(harness.Command{Path: b.program, Args: args, Dir: b.dir,
		Env: append([]string{"TMPDIR=" + b.temp, "TMP=" + b.temp, "TEMP=" + b.temp}, env...)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := p.Stop(patience); err != nil {
			b.t.Error(err)
		}
	})
	return p
}

// live starts a live run: Telegram is the simulator, the installed Codex the
// scripted one.
func (b *bench) live(args []string, env ...string) *harness.Process {
	b.t.Helper()
	var err error
	if b.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{Token: token}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.sim.Close(); err != nil {
			b.t.Error(err)
		}
	})
	codex := filepath.Join(b.dir, "codex")
	if runtime.GOOS == "windows" {
		codex += ".exe"
	}
	text, err := os.ReadFile(built.Path("fakecodex"))
	if err == nil {
		err = os.WriteFile(codex, text, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "token.txt"), []byte(token+"\n"), 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return b.start(append([]string{"smoke", "--wait-s", "60"}, args...), append(env,
		"CHANNEL_TOKEN_FILE=token.txt", "CHANNEL_TELEGRAM_API_URL="+b.sim.URL, fmt.Sprintf("CHANNEL_ALLOWED_CHAT_IDS=%d", chat),
		"CODEX_HOME="+filepath.Join(b.dir, "codex_home"), "ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1",
		"PATH="+b.dir+string(os.PathListSeparator)+os.Getenv("PATH"))...)
}

// writes plays the person: it writes whenever the program asks for it, so often.
func (b *bench) writes(p *harness.Process, output func() string, times int) {
	b.t.Helper()
	for asked := range times {
		b.eventually(p, "it asks", func() bool { return strings.Count(output(), "send this message to the bot") > asked })
		b.sim.Inject(telegramsim.Incoming{ChatID: chat, UserID: person, Text: words})
	}
}

func (b *bench) eventually(p *harness.Process, what string, met func() bool) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("never: %s\n%s%s", what, p.Stdout(), p.Stderr())
		}
	}
}

func (b *bench) ends(p *harness.Process) (status int) {
	b.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		b.t.Fatalf("it does not end\n%s%s", p.Stdout(), p.Stderr())
	}
	return p.Status()
}

// evidence are the files of all runs here, by their names.
func (b *bench) evidence() map[string]string {
	b.t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.dir, "artifacts", "test-logs", "tg-live-e2-*", "tg-live-e2-*", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatal(err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}
