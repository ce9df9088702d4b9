package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is what is to be run.
type Command struct {
	Path string
	Args []string // without argv[0]
	Env  []string // NAME=value, on top of the caller's environment
	Dir  string
}

// Process is a running program and everything it wrote.
type Process struct {
	command *exec.Cmd
	stdout  buffer
	stderr  buffer
	done    chan struct{}
}

// Start starts a program. Its standard input is empty.
func Start(c Command) (*Process, error) {
	p := &Process{command: exec.Command(c.Path, c.Args...), done: make(chan struct{})}
	p.command.Dir = c.Dir
	p.command.Env = append(settingsRemoved(os.Environ()), c.Env...)
	p.command.Stdout, p.command.Stderr = &p.stdout, &p.stderr
	// A descendant that outlives the program must not keep Wait from returning.
	p.command.WaitDelay = 5 * time.Second
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	go func() {
		defer close(p.done)
		_ = p.command.Wait() // the status stays in ProcessState
	}()
	return p, nil
}

// settingsRemoved leaves out what would configure the programs behind a test's
// back.
func settingsRemoved(env []string) []string {
	var kept []string
	for _, word := range env {
		name, _, _ := strings.Cut(word, "=")
		switch prefix, _, _ := strings.Cut(name, "_"); prefix {
		case "CHANNEL", "ORCHESTRATOR", "FAKE", "CODEX":
		default:
			kept = append(kept, word)
		}
	}
	return kept
}

// Stdout is what the program has written to its standard output so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what the program has written to its standard error so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// PID is the program's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is the exit status of a program that has ended, -1 for a signal.
func (p *Process) Status() int {
	<-p.done
	return p.command.ProcessState.ExitCode()
}

// CPU is the processor time of a program that has ended and, where the system
// counts it so (Unix), of those it has started and waited for.
func (p *Process) CPU() time.Duration {
	<-p.done
	return p.command.ProcessState.UserTime() + p.command.ProcessState.SystemTime()
}

// Terminate asks the program to stop: SIGTERM, on Windows its end.
func (p *Process) Terminate() error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.command.Process.Signal(syscall.SIGTERM)
}

// Kill ends the program at once and waits for its end.
func (p *Process) Kill() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	err := p.command.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil // it was faster
	}
	return err
}

// Stop asks the program to stop, and ends it when it has not after patience; that
// is an error.
func (p *Process) Stop(patience time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.Terminate(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s did not stop within %v: %s", p.command.Path, patience, p.Stderr())
}

// buffer is a bytes.Buffer for one writer and many readers.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
