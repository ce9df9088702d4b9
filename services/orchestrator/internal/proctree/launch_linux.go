package proctree

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stdoutPipe is the size wished for the stdout pipe: the most an unprivileged process may have by default.
	stdoutPipe = 1 << 20
	// shimGrace is how long a marked child's shim may take to kill everything before it is killed and the supervisor does it.
	shimGrace = 2 * time.Second
)

// errShimLost is the error of a child whose shim ended without a word.
var errShimLost = errors.New("containment shim ended without reporting the child's status")

// instructions go from the supervisor to the shim, over a pipe that stays open for as long as the child may live. Bytes, since
// neither arguments nor environment need be UTF-8.
type instructions struct {
	Path, Dir []byte
	Args, Env [][]byte
	Mark      mark
	Cgroup    []byte
}

// report goes from the shim to the supervisor: once when the program is being executed or could not be, once when it has ended.
type report struct {
	Failed string `json:",omitempty"` // what failed, in words
	Kind   SpawnKind
	Errno  syscall.Errno
	Ended  bool
	Status syscall.WaitStatus
}

// shimError is an error that happened in the shim.
type shimError struct {
	text  string
	errno syscall.Errno
}

func (e *shimError) Error() string { return e.text }
func (e *shimError) Unwrap() error { return e.errno }

// guarded is a child behind its shim.
type guarded struct {
	shim    *os.Process
	control *os.File // its closing tells the shim to end everything
	status  *os.File
	reports *json.Decoder
	mark    mark
	cgroup  string
	note    *note
	killing sync.Once
	overdue *time.Timer // armed by kill
}

// guard starts a shim, tells it what to run and returns once it has executed the program.
func (p *platform) guard(prog program, stdio endpoints) (child, error) {
	g := &guarded{}
	if err := p.identify(g); err != nil {
		return nil, &SpawnError{Kind: Refused, Err: err}
	}
	if err := p.startShim(g, stdio); err != nil {
		g.forget()
		return nil, &SpawnError{Kind: Refused, Err: fmt.Errorf("containment: %w", err)}
	}
	err := json.NewEncoder(g.control).Encode(instructions{
		Path: []byte(prog.path), Dir: []byte(prog.dir), Args: raw(prog.args), Env: raw(prog.env), Mark: g.mark, Cgroup: []byte(g.cgroup),
	})
	var first report
	if err == nil {
		err = g.reports.Decode(&first)
	}
	switch {
	case err != nil:
		err = &SpawnError{Kind: Refused, Err: errShimLost}
	case first.Failed != "":
		err = &SpawnError{Kind: first.Kind, Err: &shimError{text: first.Failed, errno: first.Errno}}
	default:
		return g, nil
	}
	_ = g.kill()
	g.wait()
	return nil, err
}

// identify gives a child that the kernel will not contain what it is found by: a mark, perhaps a cgroup, and a note of both.
func (p *platform) identify(g *guarded) (err error) {
	if g.mark, err = newMark(); err != nil {
		return err
	}
	if p.way.cgroups != "" {
		if g.cgroup, err = makeCgroup(p.way.cgroups, g.mark); err != nil {
			return err
		}
	}
	if p.notes != "" {
		if g.note, err = takeNote(p.notes, g.mark.String(), g.cgroup); err != nil {
			g.forget()
			return err
		}
	}
	return nil
}

// startShim leaves in g the process and the ends of the pipes to and from it.
func (p *platform) startShim(g *guarded, stdio endpoints) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	theirControl, ourControl, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = theirControl.Close() }()
	ourStatus, theirStatus, err := os.Pipe()
	if err != nil {
		_ = ourControl.Close()
		return err
	}
	defer func() { _ = theirStatus.Close() }()

	g.shim, err = os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", programFD), []string{shimName}, &os.ProcAttr{
		// The shim itself keeps off the child's streams: each ends when the child closes it.
		Files: []*os.File{null, null, null, stdio.stdin, stdio.stdout, stdio.stderr, theirControl, theirStatus, p.program},
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"}, // the shim's alone; it lives on a few hundred KiB
		// A session of its own keeps a terminal's Ctrl-C, and the terminal, from it. No parent-death signal: it must outlive the
		// worker for a moment, to kill what is left.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_ = ourControl.Close()
		_ = ourStatus.Close()
		return err
	}
	g.control, g.status, g.reports = ourControl, ourStatus, json.NewDecoder(ourStatus)
	return nil
}

// interrupt reaches the program through the shim, which forwards signals.
func (g *guarded) interrupt() error { return unlessDone(g.shim.Signal(syscall.SIGINT)) }

func (g *guarded) kill() (err error) {
	g.killing.Do(func() {
		// The shim has adopted the orphans: only while it lives do they get reaped. So it does the killing.
		g.overdue = time.AfterFunc(shimGrace, func() { _ = g.shim.Kill() })
		err = g.control.Close()
	})
	return err
}

func (g *guarded) wait() Exit {
	_, err := g.shim.Wait()
	g.killing.Do(func() {}) // from here on kill has nothing to do, and overdue is settled
	if g.overdue != nil {
		g.overdue.Stop()
	}
	var last report
	reported := g.reports.Decode(&last) == nil && last.Ended
	_ = g.control.Close()
	_ = g.status.Close()
	if !reported {
		purge(g.mark, g.cgroup, forever)
	}
	g.forget()
	switch {
	case reported:
		return exitOf(last.Status)
	case err != nil:
		return Exit{Code: -1, Err: err}
	default:
		return Exit{Code: -1, Err: errShimLost}
	}
}

// forget gives up what identify made.
func (g *guarded) forget() {
	removeCgroup(g.cgroup)
	if g.note != nil {
		g.note.remove()
	}
}

// widen lets the child run ahead of a slow reader; a refusal leaves the usual 64 KiB.
func widen(pipe *os.File) {
	if conn, err := pipe.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, stdoutPipe) })
	}
}

func raw(list []string) [][]byte {
	bytes := make([][]byte, len(list))
	for i, s := range list {
		bytes[i] = []byte(s)
	}
	return bytes
}

func text(list [][]byte) []string {
	strings := make([]string, len(list))
	for i, b := range list {
		strings[i] = string(b)
	}
	return strings
}
