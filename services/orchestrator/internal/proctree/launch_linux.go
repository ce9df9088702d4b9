package proctree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	Path, Dir  []byte
	Args, Env  [][]byte
	Mask, Keep [][]byte
	Namespaces bool
	Mark       mark
	Cgroup     []byte
}

// report goes from the shim to the supervisor: once when the program is being executed or could not be, once when it has ended.
// Of a shim that becomes the program there is only the report of its failure.
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

// contained is a child behind its shim.
type contained struct {
	shim    *os.Process
	control *os.File // its closing tells the shim to end everything
	status  *os.File
	reports *json.Decoder
	mark    mark // zero: the kernel contains the child
	cgroup  string
	note    *note
	killing sync.Once
	overdue *time.Timer // armed by kill, for a marked child
}

// launch starts a shim, hands it ins and returns once it has executed the program. ins says what to run, p.way how.
func (p *platform) launch(ins instructions, stdio endpoints) (*contained, error) {
	c := &contained{}
	if err := p.identify(c); err != nil {
		return nil, &SpawnError{Kind: Refused, Err: err}
	}
	ins.Namespaces, ins.Mark, ins.Cgroup = p.way.namespaces, c.mark, []byte(c.cgroup)
	err := p.startShim(c, stdio)
	if err != nil {
		c.forget()
		return nil, &SpawnError{Kind: Refused, Err: fmt.Errorf("containment: %w", err)}
	}
	var first report
	if err = json.NewEncoder(c.control).Encode(ins); err == nil {
		err = c.reports.Decode(&first)
	}
	switch {
	case ins.Namespaces && errors.Is(err, io.EOF):
		return c, nil // its end of the pipe went when it became the program
	case err != nil:
		err = &SpawnError{Kind: Refused, Err: errShimLost}
	case first.Failed != "":
		err = &SpawnError{Kind: first.Kind, Err: &shimError{text: first.Failed, errno: first.Errno}}
	default:
		return c, nil
	}
	_ = c.kill()
	c.wait()
	return nil, err
}

// identify gives a child that the kernel will not contain what it is found by: a mark, perhaps a cgroup, and a note of both.
func (p *platform) identify(c *contained) (err error) {
	if !p.way.marked() {
		return nil
	}
	if c.mark, err = newMark(); err != nil {
		return err
	}
	if p.way.cgroups != "" {
		if c.cgroup, err = makeCgroup(p.way.cgroups, c.mark); err != nil {
			return err
		}
	}
	if p.notes != "" {
		if c.note, err = takeNote(p.notes, c.mark.String(), c.cgroup); err != nil {
			c.forget()
			return err
		}
	}
	return nil
}

// startShim leaves in c the process and the ends of the pipes to and from it.
func (p *platform) startShim(c *contained, stdio endpoints) error {
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

	c.shim, err = p.spawner.start(fmt.Sprintf("/proc/self/fd/%d", programFD), []string{shimName}, &os.ProcAttr{
		// The shim itself keeps off the child's streams: each ends when the child closes it.
		Files: []*os.File{null, null, null, stdio.stdin, stdio.stdout, stdio.stderr, theirControl, theirStatus, p.program},
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"}, // the shim's alone; it lives on a few hundred KiB
		Sys:   p.attributes(),
	})
	if err != nil {
		_ = ourControl.Close()
		_ = ourStatus.Close()
		return err
	}
	c.control, c.status, c.reports = ourControl, ourStatus, json.NewDecoder(ourStatus)
	return nil
}

// interrupt reaches the program itself, or through the shim, which forwards signals.
func (c *contained) interrupt() error {
	if err := c.shim.Signal(syscall.SIGINT); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (c *contained) kill() (err error) {
	c.killing.Do(func() {
		if c.mark == 0 {
			err = c.shim.Kill() // the first process of its namespace: the kernel kills the others
			return
		}
		// The shim has adopted the orphans: only while it lives do they get reaped. So it does the killing.
		c.overdue = time.AfterFunc(shimGrace, func() { _ = c.shim.Kill() })
		err = c.control.Close()
	})
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (c *contained) wait() Exit {
	// The kernel lets the first process of a PID namespace go only after every other one is dead and reaped.
	state, err := c.shim.Wait()
	c.killing.Do(func() {}) // from here on kill has nothing to do, and overdue is settled
	if c.overdue != nil {
		c.overdue.Stop()
	}
	var last report
	reported := c.reports.Decode(&last) == nil && last.Ended
	_ = c.control.Close()
	_ = c.status.Close()
	if c.mark != 0 && !reported {
		purge(c.mark, c.cgroup, forever)
	}
	c.forget()
	if reported {
		return exitOf(last.Status)
	}
	if err != nil {
		return Exit{Code: -1, Err: err}
	}
	// What was the shim is the program by now; or it was killed, by kill or by a kernel short of memory, and the program with it.
	if exit := exitOf(state.Sys().(syscall.WaitStatus)); c.mark == 0 || exit.Signal != "" {
		return exit
	}
	return Exit{Code: -1, Err: errShimLost}
}

// forget gives up what identify made.
func (c *contained) forget() {
	removeCgroup(c.cgroup)
	if c.note != nil {
		c.note.remove()
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
