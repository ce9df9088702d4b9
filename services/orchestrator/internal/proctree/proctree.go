package proctree

import (
	"os"
	"sync"
)

// Mode chooses the containment. Everything but Auto exists on Linux only and is meant for tests and diagnosis.
type Mode int

const (
	// Auto takes the strongest containment that a probe shows to work.
	Auto Mode = iota
	// Namespace wants namespaces or fails.
	Namespace
	// Cgroup wants a cgroup v2 or fails.
	Cgroup
	// Scan wants the reaper and the scan alone.
	Scan
)

// Options configure a Supervisor.
type Options struct {
	// Mode is the containment; the zero value is Auto.
	Mode Mode
	// StateDir is where children that the kernel does not contain are noted, so that the next New with the same directory can
	// kill what a killed worker left behind. Empty: nothing is noted. Created when missing. Supervisors may share it: what
	// belongs to one that still lives is left alone.
	StateDir string
}

// Supervisor starts children and owns them until they end. Its methods are safe for concurrent use.
type Supervisor struct {
	platform *platform

	mu      sync.Mutex
	closed  bool
	running map[*Process]struct{}
	starts  sync.WaitGroup // Starts under way; Close waits for them

	shut    sync.Once
	shutErr error
}

// New probes what containment works here, and kills what an earlier worker with the same StateDir left behind. It fails when a
// forced mode does not work or StateDir cannot be used. The caller's main must begin with Main. On Linux, without
// namespaces, children are started through telecodex-contain, if it stands beside the caller's program and works, else through the
// caller's program.
func New(opts Options) (*Supervisor, error) {
	platform, err := openPlatform(opts)
	if err != nil {
		return nil, err
	}
	return &Supervisor{platform: platform, running: make(map[*Process]struct{})}, nil
}

// Containment names what holds: "namespace", "cgroup", "scan", "process-group" or "job-object".
func (s *Supervisor) Containment() string { return s.platform.containment() }

// Spec describes a child.
type Spec struct {
	// Path is the program: an absolute path, or a bare name looked up in the worker's PATH. It is also argv[0].
	Path string
	// Args is argv without argv[0].
	Args []string
	// Dir is the working directory; empty: the worker's.
	Dir string
	// Env is the complete environment as "NAME=value"; nil is an empty one. Nothing is added.
	Env []string
	// Stdin is written to the child, then its standard input is closed. A child that stops reading is no error.
	Stdin []byte
	// Mask lists directories and files the child must not see; absolute paths, symbolic links are followed, what does not exist
	// is skipped. In a namespace a directory appears empty and read-only, a file empty; the weaker containments cannot hide anything.
	// A masked file that is replaced by rename while the child runs becomes visible: prefer to mask its directory.
	Mask []string
	// Keep lists paths beneath a masked directory that stay visible, and only they. Dir is always kept.
	Keep []string
	// StderrTail is how many bytes of the end of standard error are kept; 0 is 8 KiB.
	StderrTail int
}

// Start spawns a child and returns once the program is being executed. Every error is a *SpawnError.
func (s *Supervisor) Start(spec Spec) (*Process, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, &SpawnError{Kind: Refused, Err: ErrClosed}
	}
	s.starts.Add(1)
	s.mu.Unlock()
	defer s.starts.Done()

	path, err := resolve(spec.Path)
	if err != nil {
		return nil, err
	}
	if err := checkDir(spec.Dir); err != nil {
		return nil, err
	}
	ours, theirs, err := openStdio()
	if err != nil {
		return nil, &SpawnError{Kind: Refused, Err: err}
	}
	child, err := s.platform.start(path, spec, theirs)
	theirs.close()
	if err != nil {
		ours.close()
		return nil, err
	}

	process := newProcess(child, ours)
	s.mu.Lock()
	s.running[process] = struct{}{}
	s.mu.Unlock()
	go func() {
		process.supervise(spec)
		s.mu.Lock()
		delete(s.running, process)
		s.mu.Unlock()
		close(process.done)
	}()
	return process, nil
}

// Close refuses further Starts, kills every child that still runs, and returns when all of them are gone. Idempotent.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.starts.Wait()

	s.mu.Lock()
	var left []*Process
	for process := range s.running {
		left = append(left, process)
	}
	s.mu.Unlock()
	for _, process := range left {
		_ = process.Kill() // fails only for a child that has ended
	}
	for _, process := range left {
		<-process.done
	}
	s.shut.Do(func() { s.shutErr = s.platform.close() })
	return s.shutErr
}

// endpoints are three pipe ends: a child's standard streams, or the supervisor's side of them.
type endpoints struct{ stdin, stdout, stderr *os.File }

func (e endpoints) close() {
	for _, file := range []*os.File{e.stdin, e.stdout, e.stderr} {
		if file != nil {
			_ = file.Close()
		}
	}
}

func openStdio() (ours, theirs endpoints, err error) {
	defer func() {
		if err != nil {
			ours.close()
			theirs.close()
		}
	}()
	if theirs.stdin, ours.stdin, err = os.Pipe(); err != nil {
		return
	}
	if ours.stdout, theirs.stdout, err = os.Pipe(); err != nil {
		return
	}
	ours.stderr, theirs.stderr, err = os.Pipe()
	return
}
