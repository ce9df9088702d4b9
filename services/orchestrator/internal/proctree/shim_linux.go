package proctree

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names of processes, by which Main knows what to be. The number is that of instructions and report, and grows when their meaning
// changes: a program of another version does not know its name and ends.
const (
	shimName  = "telecodex-contain/2"
	probeName = "telecodex-contain/2/probe"
)

// Descriptors the shim starts with, after its own three.
const (
	stdinFD = 3 + iota
	stdoutFD
	stderrFD
	controlFD
	statusFD
	programFD
)

// Main runs the process as the containment shim when it was started as one, and then never returns; otherwise it returns at
// once. It must be the first statement of every main, and TestMain, of a program that uses a Supervisor, and is all of
// telecodex-contain.
//
// The shim stays for as long as its program, as the one who finds the descendants and kills them. In namespaces there is none: the
// kernel does that.
func Main() {
	if len(os.Args) == 0 {
		return
	}
	// Not os.Exit: nothing of the program is to happen at this exit, and a race detector's second of waiting would come with every child.
	switch os.Args[0] {
	case shimName:
		syscall.Exit(runShim())
	case probeName:
		syscall.Exit(0)
	}
}

// shim is what stands between a supervisor and one program.
type shim struct {
	instructions
	reports *json.Encoder
	pid     int // the program's
	pidfd   int // the same, safe against reuse; -1 on kernels before 5.4
}

func runShim() int {
	for fd := stdinFD; fd <= programFD; fd++ {
		unix.CloseOnExec(fd)
	}
	control := os.NewFile(controlFD, "control")
	s := &shim{reports: json.NewEncoder(os.NewFile(statusFD, "status"))}
	if err := json.NewDecoder(control).Decode(&s.instructions); err != nil {
		return 2
	}
	return s.stay(control)
}

// stay starts the program and waits for the end of it and of all it has left behind.
func (s *shim) stay(control *os.File) int {
	// Before the program exists, so that no signal falls in between. Not SIGCHLD, SIGURG and SIGPIPE: they mean the shim.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	if err := s.spawn(); err != nil {
		_ = s.reports.Encode(failure(err))
		return 2
	}
	_ = s.reports.Encode(report{}) // a supervisor that is gone shows in watch
	go s.forward(signals)
	go s.watch(control)
	ended := report{Ended: true, Status: s.reap()}
	s.endDescendants()
	removeCgroup(string(s.Cgroup)) // the supervisor would, but may be gone
	_ = s.reports.Encode(ended)
	return 0
}

// spawn marks this process, then starts the program.
func (s *shim) spawn() error {
	if err := s.contain(); err != nil {
		return err
	}
	if err := s.exec(); err != nil {
		return err
	}
	// The program has its own copies: a stream ends when the program closes it.
	for fd := stdinFD; fd <= stderrFD; fd++ {
		_ = unix.Close(fd)
	}
	return nil
}

// failure is the report of a program that could not be started.
func failure(err error) *report {
	failed := &report{Failed: err.Error(), Kind: Refused}
	errors.As(err, &failed.Errno)
	if at := new(fs.PathError); errors.As(err, &at) && at.Op == "exec" {
		failed.Kind = execKind(at.Path, failed.Errno)
	}
	return failed
}

// contain makes this process the one that the program's descendants cannot leave.
func (s *shim) contain() error {
	// Orphans of the program become children of this process, which can wait for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("subreaper", err)
	}
	if err := s.Mark.wear(); err != nil {
		return err
	}
	// The program has the same uid: it may not trace this process, nor open its descriptors through /proc.
	return os.NewSyscallError("dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// exec forks from a thread of its own that has given up its capabilities and ends here: they belong to threads, and the other
// ones may still need them to kill.
func (s *shim) exec() (err error) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		runtime.LockOSThread()
		if held, err := ownCapabilities(); err == nil {
			bare := &plan{}
			bare.dropCapabilities(held)
			_ = bare.carryOut() // an unprivileged worker may not empty the bounding set; it has nothing else to drop
		}
		err = s.fork()
	}()
	<-finished
	return err
}

func (s *shim) fork() error {
	attr := &syscall.SysProcAttr{Setsid: true, PidFD: &s.pidfd}
	if len(s.Cgroup) > 0 {
		dir, err := os.Open(string(s.Cgroup))
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }()
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	}
	if err := unix.Access(string(s.Dir), unix.X_OK); err != nil {
		return &fs.PathError{Op: "chdir", Path: string(s.Dir), Err: err}
	}
	var err error
	s.pid, err = syscall.ForkExec(string(s.Path), text(s.Args), &syscall.ProcAttr{
		Dir:   string(s.Dir),
		Env:   text(s.Env),
		Files: []uintptr{stdinFD, stdoutFD, stderrFD},
		Sys:   attr,
	})
	if err != nil {
		return &fs.PathError{Op: "exec", Path: string(s.Path), Err: err}
	}
	return nil
}

// forward passes signals on to the program.
func (s *shim) forward(signals <-chan os.Signal) {
	for received := range signals {
		sig := received.(syscall.Signal)
		if s.pidfd < 0 {
			_ = unix.Kill(s.pid, sig)
			continue
		}
		_ = unix.PidfdSendSignal(s.pidfd, sig, nil, 0)
	}
}

// watch waits for the supervisor to close the control pipe, by Kill or by its own death, and ends everything.
func (s *shim) watch(control *os.File) {
	_, _ = io.Copy(io.Discard, control)
	purge(s.Mark, string(s.Cgroup), forever) // then reap sees the program dead
}

// reap waits for the program, and for every orphan that becomes this process's child meanwhile.
func (s *shim) reap() syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if pid == s.pid {
			return status
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			time.Sleep(time.Millisecond) // unreachable while the program is our child
		}
	}
}

// endDescendants kills and reaps what the program has left behind. All of it hangs beneath this process, so that having no
// children is proof of having no descendants; a scan alone can miss a process that forks and exits while it runs.
func (s *shim) endDescendants() {
	var alone time.Time // when the last one that could be killed was
	for pause := time.Millisecond; childrenLeft(); pause = min(2*pause, 50*time.Millisecond) {
		switch found := strike(s.Mark, string(s.Cgroup)); {
		case found:
			alone = time.Time{}
		case alone.IsZero():
			alone = time.Now()
		case time.Since(alone) > stragglerGrace:
			return // what is left runs as another user
		}
		time.Sleep(pause)
	}
}

// childrenLeft reaps what is dead and tells whether there is more.
func childrenLeft() bool {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return !errors.Is(err, unix.ECHILD)
		}
	}
}
