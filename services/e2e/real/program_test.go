//go:build real

package real_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	buildTimeout = 5 * time.Minute
	stopTimeout  = 30 * time.Second
)

// binaries is the directory with the programs under test, built when the first test asks for them.
var binaries = sync.OnceValues(buildBinaries)

func buildBinaries() (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "real-bin")
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator),
		"./orchestrator/cmd/orchestrator", "./telecodex/cmd/telecodex", "./gateway/cmd/gateway", "./internal/telegramsim/cmd/faketelegram")
	command.Dir = filepath.Join(root, "services")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, output)
	}
	return dir, nil
}

func binary(t *testing.T, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// program is a child process whose output is kept and shown when the test fails.
type program struct {
	name   string
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	ended  chan struct{} // closed when the process is reaped
	err    error         // its exit, once ended is closed
}

// launch starts a program in dir with exactly the environment given. The test's end stops it.
func launch(t *testing.T, dir string, env []string, path string, args ...string) *program {
	t.Helper()
	p := &program{
		name: filepath.Base(path), cmd: exec.Command(path, args...),
		stdout: &output{}, stderr: &output{}, ended: make(chan struct{}),
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, p.stdout, p.stderr
	// Held open and closed by the death of this process: programs that read it notice that the test is gone.
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop(t)
		_ = stdin.Close()
		if t.Failed() {
			t.Logf("%s ended with: %v\nstdout:\n%s\nstderr:\n%s", p.name, p.err, p.stdout.tail(), p.stderr.tail())
		}
	})
	return p
}

// stop asks the program to end, and makes it end when it has not after a while; that is a failure.
func (p *program) stop(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		t.Errorf("%s was still running %v after SIGTERM", p.name, stopTimeout)
		p.kill(t)
	}
}

// kill ends the program as a power cut would.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-p.ended
}

// output keeps what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) tail() string {
	text := o.String()
	return text[max(0, len(text)-8192):]
}

// await polls until holds says true, and fails the test when it has not within limit.
func await(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
