package smoke_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/telecodex"
	"telecodex.dev/services/telecodex/internal/smoke"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

// asProgram makes the test binary the program telecodex.
const asProgram = "SMOKE_TEST_AS_PROGRAM"

// TestMain also makes the test binary what a smoke run starts: telecodex, what
// contains Codex, and Codex.
func TestMain(m *testing.M) {
	orchestrator.Contain()
	telecodex.Act()
	switch name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"); {
	case name == "codex":
		os.Exit(codexsim.Main())
	case os.Getenv(asProgram) != "":
		lifecycle.Main(telecodex.Main)
	}
	goleak.VerifyTestMain(m)
}

// trial is a smoke run in a test, and all that it leaves.
type trial struct {
	smoke.Options
	out, log     buffer
	temp, people string // directories: TMPDIR, and what is the operator's own
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	r := &trial{temp: t.TempDir(), people: t.TempDir()}
	t.Setenv("TMPDIR", r.temp)
	t.Setenv("TMP", r.temp) // Windows
	t.Setenv(asProgram, "1")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.Options = smoke.Options{Scenarios: protocol.Scenarios(), Out: filepath.Join(r.people, "evidence"), Wait: time.Minute, Limit: 2 * time.Minute, Program: program,
		Version: "telecodex test", Environ: os.Environ(), Stdout: &r.out, Stderr: &r.log,
		Scripted: func(dir string) (string, error) { return place(program, dir, "fakecodex") }}
	return r
}

// place puts the test binary into a directory under a name that it plays.
func place(program, dir, name string) (string, error) {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(dir, name)
	if os.Link(program, path) == nil {
		return path, nil
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, text, 0o700)
}

// run runs it, and sees to it that nothing temporary is left.
func (r *trial) run(t *testing.T) (status int) {
	t.Helper()
	status, err := smoke.Run(t.Context(), r.Options)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, r.out.String(), r.log.String())
	}
	r.leavesNothing(t)
	return status
}

func (r *trial) leavesNothing(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(r.temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// evidence are the files of its one run, by their names.
func (r *trial) evidence(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(r.Out, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}

// buffer is a bytes.Buffer that is read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// shows wants lines of the output that match.
func (r *trial) shows(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+r.out.String(), "\n"+line) {
			t.Errorf("no line begins with %q in:\n%s%s", line, r.out.String(), r.log.String())
		}
	}
}
