package codex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// SpawnError says that Codex could not be started. Its text is fit for anyone; what
// it wraps names paths of this machine.
type SpawnError struct {
	Kind proctree.SpawnKind
	Err  error
}

func (e *SpawnError) Error() string { return BackendMessage(BackendSpawn) }
func (e *SpawnError) Unwrap() error { return e.Err }

// ExecConfig configures the exec engine.
type ExecConfig struct {
	Bin        string   // path, or name on the PATH; looked up again at each start
	Env        []string // complete environment of Version's Codex; a turn brings its own
	Supervisor *proctree.Supervisor
}

// Exec runs every turn in a process of `codex exec`.
type Exec struct{ config ExecConfig }

// NewExec makes the engine. It does not look for Codex yet: one that is installed
// later is found.
func NewExec(config ExecConfig) *Exec { return &Exec{config} }

var _ Engine = (*Exec)(nil)

// Start starts a turn. Its error is a *SpawnError.
func (e *Exec) Start(r Request) (Run, error) {
	process, err := e.spawn(proctree.Spec{
		Args: Argv(r), Dir: r.Dir, Env: r.Env, Stdin: []byte(r.Prompt), Mask: r.Mask, Keep: r.Keep,
	})
	if err != nil {
		return nil, err
	}
	return &execRun{Decoder: NewDecoder(process.Stdout(), time.Now), process: process}, nil
}

func (e *Exec) spawn(spec proctree.Spec) (*proctree.Process, error) {
	path, err := ResolveNative(e.config.Bin)
	if err != nil {
		return nil, &SpawnError{Kind: lookupKind(err), Err: err}
	}
	spec.Path = path
	process, err := e.config.Supervisor.Start(spec)
	if err != nil {
		kind := proctree.Refused
		if spawn, ok := errors.AsType[*proctree.SpawnError](err); ok {
			kind = spawn.Kind
		}
		return nil, &SpawnError{Kind: kind, Err: err}
	}
	return process, nil
}

// lookupKind says why a binary could not be resolved.
func lookupKind(err error) proctree.SpawnKind {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoNative) {
		return proctree.NotFound
	}
	return proctree.NotExecutable
}

var versionLine = regexp.MustCompile(`^codex-cli ([0-9A-Za-z.+-]{1,64})\s*$`)

// ErrVersion says that what was started does not call itself Codex.
var ErrVersion = errors.New("codex --version: not an answer of Codex")

// Version runs `codex --version`. It fails with a *SpawnError, with ErrVersion, or
// with ctx's error.
func (e *Exec) Version(ctx context.Context) (string, error) {
	answer, code, err := e.say(ctx, proctree.Spec{Args: []string{"--version"}, Env: e.config.Env})
	if err != nil {
		return "", err
	}
	found := versionLine.FindSubmatch(answer)
	if code != 0 || found == nil {
		return "", fmt.Errorf("%w (exit status %d)", ErrVersion, code)
	}
	return string(found[1]), nil
}

// LoggedIn runs `codex login status`, which asks nobody. Its output names the
// account and is thrown away. It fails with a *SpawnError or with ctx's error.
func (e *Exec) LoggedIn(ctx context.Context) (bool, error) {
	_, code, err := e.say(ctx, proctree.Spec{Args: []string{"login", "status"}, Env: e.config.Env})
	return err == nil && code == 0, err
}

// CanSandbox tries whether Codex can run a command in a sandbox of the given mode
// and in dir, where it runs itself: `codex sandbox`, with Codex as the command. It
// fails with a *SpawnError or with ctx's error.
func (e *Exec) CanSandbox(ctx context.Context, mode, dir string) (bool, error) {
	native, err := ResolveNative(e.config.Bin)
	if err != nil {
		return false, &SpawnError{Kind: lookupKind(err), Err: err}
	}
	_, code, err := e.say(ctx, proctree.Spec{Env: e.config.Env, Dir: dir,
		Args: []string{"sandbox", "-c", "sandbox_mode=" + strconv.Quote(mode), "--", native, "--version"}})
	return err == nil && code == 0, err
}

// say runs Codex to its end and returns the beginning of what it says, and its
// exit status.
func (e *Exec) say(ctx context.Context, spec proctree.Spec) (answer []byte, code int, err error) {
	process, err := e.spawn(spec)
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = process.Kill() }) // fails only when it has ended
	defer stop()
	answer, err = io.ReadAll(io.LimitReader(process.Stdout(), 4096))
	if err == nil {
		_, err = io.Copy(io.Discard, process.Stdout())
	}
	exit := process.Wait()
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	if err != nil {
		return nil, exit.Code, nil // as if it had said nothing
	}
	return answer, exit.Code, nil
}

// execRun is one process of `codex exec`.
type execRun struct {
	*Decoder
	process *proctree.Process
}

// Interrupt asks Codex to stop. When that fails, Codex is as good as gone or Kill
// will be called.
func (r *execRun) Interrupt() { _ = r.process.Interrupt() }

// Kill ends it all. It fails only when there is nothing left.
func (r *execRun) Kill() { _ = r.process.Kill() }

// Done is closed when Codex is reaped and no descendant is left.
func (r *execRun) Done() <-chan struct{} { return r.process.Done() }

// Wait blocks until Done.
func (r *execRun) Wait() Exit {
	ended := r.process.Wait()
	exit := Exit{Signal: ended.Signal, Err: ended.Err, Class: orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED}
	if ended.Code >= 0 {
		code := int32(uint32(ended.Code)) // Windows has statuses of 32 bits
		exit.Code = &code
	}
	if ended.Code != 0 {
		exit.Class = Classify(string(ended.StderrTail))
	}
	return exit
}
