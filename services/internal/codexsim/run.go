package codexsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Process is what the operating system gives a process.
type Process struct {
	Args   []string // without argv[0]
	Env    []string // NAME=value
	Stdin  io.Reader
	Stdout io.WriteCloser
	Stderr io.Writer
}

// Main runs the calling process as Codex and returns its exit status. It must be
// all that the process does.
func Main() int {
	// A closed stdout is to be an error, answered with Codex's status, not the
	// signal that would end a Go program.
	signal.Ignore(syscall.SIGPIPE)
	if os.Getenv(roleVariable) == roleGrandchild {
		return grandchildMain(os.Getenv)
	}
	return Run(Process{Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
}

// Run runs one invocation of Codex and returns its exit status. Work that blocks on
// stdout is left behind at SIGINT, as by a process that ends.
func Run(p Process) int {
	inv, err := parseArgs(p.Args)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s\n\nFor more information, try '--help'.\n", err)
		return exitUsage
	}
	getenv := lookup(p.Env)
	switch {
	case inv.version:
		fmt.Fprintln(p.Stdout, valueOr(getenv("FAKE_CODEX_VERSION"), Version))
		return 0
	case inv.login:
		return loginStatus(getenv, p.Stderr)
	case inv.sandboxed != nil:
		return sandbox(inv.sandboxed, getenv, p)
	}
	t := &turn{inv: inv, process: p, getenv: getenv, out: &emitter{w: p.Stdout}}
	if err := t.prepare(); err != nil {
		fmt.Fprintln(p.Stderr, err)
		return exitStatus(err)
	}
	return t.run()
}

// turn is one run of a scenario.
type turn struct {
	ctx      context.Context // ends with SIGINT; of an instant scenario nil
	inv      invocation
	process  Process
	getenv   func(string) string
	scenario scenario
	prompt   string
	thread   thread
	out      *emitter
}

// refusal is why a process leaves before its first event: what it says on
// stderr, where possible in Codex's own words, and its exit status.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// exitStatus is the status for an error of prepare; one that is no refusal is a
// failure of the stand-in itself.
func exitStatus(err error) int {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.status
	}
	return ExitInternal
}

// prepare checks everything Codex checks before its first event.
func (t *turn) prepare() error {
	if difference := t.inv.unexpected(t.getenv); difference != "" {
		return &refusal{ExitUnexpectedArgs, "fakecodex: unexpected arguments: " + difference}
	}
	if t.inv.dir != "" {
		if err := os.Chdir(t.inv.dir); err != nil {
			return &refusal{exitFailed, "Error: No such file or directory (os error 2)"}
		}
	}
	if !t.inv.skipGit && !insideRepository() {
		return &refusal{exitFailed, "Not inside a trusted directory and --skip-git-repo-check was not specified."}
	}
	if err := t.readPrompt(); err != nil {
		return err
	}
	if err := t.chooseScenario(); err != nil {
		return err
	}
	return t.openThread()
}

// run plays the scenario, between the two lines of the log. Who has read the first
// may interrupt it. An instant scenario is over before it could be interrupted:
// listening for SIGINT would cost it a fifth of its time.
func (t *turn) run() int {
	if !t.scenario.instant {
		var stop func()
		t.ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
	}
	log, err := openLog(t)
	if err != nil {
		fmt.Fprintln(t.process.Stderr, "fakecodex:", err)
		return ExitInternal
	}
	status := t.play()
	if err := log.end(status); err != nil {
		fmt.Fprintln(t.process.Stderr, "fakecodex:", err)
		return ExitInternal
	}
	return status
}

// play runs the scenario until it ends or SIGINT comes, which Codex answers with
// status 1 and no terminal event.
func (t *turn) play() int {
	if t.scenario.instant {
		return t.status(t.scenario.play(t))
	}
	done := make(chan int, 1)
	go func() { done <- t.scenario.play(t) }()
	interrupted := t.ctx.Done()
	if t.scenario.deaf {
		interrupted = nil
	}
	select {
	case status := <-done:
		return t.status(status)
	case <-interrupted:
		return exitFailed
	}
}

// status is what the process exits with after its scenario ended with status.
func (t *turn) status(status int) int {
	if t.out.err != nil {
		return exitStdoutClosed
	}
	return status
}

// readPrompt reads stdin to its end. Codex waits for ever for that end, even
// when the prompt is an argument; here the wait is bounded, so that a caller who
// forgets to close the pipe learns of it.
func (t *turn) readPrompt() error {
	type input struct {
		text []byte
		err  error
	}
	read := make(chan input, 1)
	go func() {
		text, err := io.ReadAll(t.process.Stdin)
		read <- input{text, err}
	}()
	limit := time.NewTimer(t.milliseconds("FAKE_CODEX_STDIN_TIMEOUT", 10_000))
	defer limit.Stop()
	var in input
	select {
	case in = <-read:
	case <-limit.C:
		return &refusal{ExitStdinOpen, "fakecodex: stdin was not closed"}
	}
	if in.err != nil {
		return &refusal{exitFailed, "Failed to read prompt from stdin."}
	}
	if t.inv.prompt != "-" {
		t.prompt = t.inv.prompt
		return nil
	}
	if len(bytes.TrimSpace(in.text)) == 0 {
		return &refusal{exitFailed, "No prompt provided via stdin."}
	}
	if !utf8.Valid(in.text) {
		return &refusal{exitFailed, "Failed to read prompt from stdin: input is not valid UTF-8."}
	}
	t.prompt = string(in.text)
	return nil
}

// chooseScenario takes the scenario from the environment, or from the first line
// of the prompt where that is allowed.
func (t *turn) chooseScenario() error {
	name := valueOr(t.getenv("FAKE_CODEX_SCENARIO"), "echo")
	first, rest, _ := strings.Cut(t.prompt, "\n")
	if words := strings.Fields(first); t.getenv("FAKE_CODEX_PROMPT_SCENARIOS") == "1" && len(words) > 1 && words[0] == "!scenario" {
		name, t.prompt = words[1], rest
		t.getenv = overlay(lookup(words[2:]), t.getenv)
	}
	chosen, known := scenarios()[name]
	if !known {
		return &refusal{exitUsage, fmt.Sprintf("fakecodex: unknown scenario %q", name)}
	}
	t.scenario = chosen
	return nil
}

// insideRepository reports whether the working directory lies in a git
// repository.
func insideRepository() bool {
	dir, err := os.Getwd()
	if err != nil {
		return false
	}
	for {
		if isRepository(filepath.Join(dir, ".git")) {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

// isRepository reports whether path is a git directory, or the file that stands
// for one in a worktree.
func isRepository(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if !info.IsDir() {
		return true
	}
	_, err = os.Stat(filepath.Join(path, "HEAD"))
	return err == nil
}
