package proctree

import (
	"errors"
	"io"
	"os"
	"time"
)

// defaultStderrTail is enough to classify a failure by what a program says last.
const defaultStderrTail = 8 << 10

// stragglerGrace bounds the wait for more output after the child's end: only a descendant that escaped a weak containment, or
// a process that the descriptor was handed to, can still hold the pipe.
const stragglerGrace = time.Second

// child is what a platform knows of a started process.
type child interface {
	// interrupt asks the direct child to stop; nil when it has ended already.
	interrupt() error
	// kill begins to end the child and all its descendants; wait reports when they are gone.
	kill() error
	// wait blocks until the child is reaped and no descendant is left. Called once.
	wait() Exit
}

// Process is a started child.
type Process struct {
	child  child
	ours   endpoints
	stdout *output
	done   chan struct{}
	exit   Exit // valid once done is closed
}

// Exit says how a child ended.
type Exit struct {
	// Code is the exit status, 0 to 255 on Unix; -1 when a signal ended the child or its end could not be observed.
	Code int
	// Signal is the name of the signal that ended the child ("SIGKILL"), else empty. On Windows
	// it stands for Kill alone.
	Signal string
	// Err is set when the end could not be observed, or whether a descendant is left; Code is then -1.
	Err error
	// StderrTail is the end of standard error, at most Spec.StderrTail bytes.
	StderrTail []byte
}

func newProcess(c child, ours endpoints) *Process {
	done := make(chan struct{})
	return &Process{child: c, ours: ours, stdout: &output{file: ours.stdout, done: done}, done: done}
}

// Stdout is the read end of the child's standard output, for one reader. It ends with io.EOF when every writer has closed it, which
// the end of the child brings about; after Done it also ends when nothing has come for a second or two, whoever holds it. What is in
// the pipe stays readable after Done.
func (p *Process) Stdout() io.Reader { return p.stdout }

// Interrupt sends SIGINT (Windows: CTRL_BREAK) to the child itself, not to its descendants. Nil when it has ended.
func (p *Process) Interrupt() error {
	if p.ended() {
		return nil
	}
	return p.child.interrupt()
}

// Kill ends the child and every descendant, and does not wait: Done does. Nil when it has ended.
func (p *Process) Kill() error {
	if p.ended() {
		return nil
	}
	return p.child.kill()
}

// Done is closed when the child is reaped and no descendant is left.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until Done and says how the child ended.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// supervise feeds standard input, drains standard error and waits, all in goroutines that end with it.
func (p *Process) supervise(spec Spec) {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = p.ours.stdin.Write(spec.Stdin) // a child that does not read it is no error
		_ = p.ours.stdin.Close()
	}()
	limit := spec.StderrTail
	if limit <= 0 {
		limit = defaultStderrTail
	}
	kept := &tail{limit: limit}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(kept, p.ours.stderr)
		_ = p.ours.stderr.Close()
	}()

	p.exit = p.child.wait()
	_ = p.ours.stdin.Close() // wakes a write that nobody reads
	_ = p.ours.stderr.SetReadDeadline(time.Now().Add(stragglerGrace))
	<-fed
	<-drained
	p.exit.StderrTail = kept.bytes
	_ = p.ours.stdout.SetReadDeadline(time.Now()) // wakes a read, which goes on with a deadline of its own
}

// output closes the pipe at its end, so that a reader that reads to io.EOF leaves no descriptor behind.
type output struct {
	file *os.File
	done <-chan struct{} // of the process
	end  error
}

func (o *output) Read(b []byte) (int, error) {
	if o.end != nil {
		return 0, o.end
	}
	n, err := o.file.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The process is ending. Each read gets the whole grace: a slow reader is to find all that is in the pipe.
		<-o.done
		_ = o.file.SetReadDeadline(time.Now().Add(stragglerGrace))
		if n, err = o.file.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
			err = io.EOF
		}
	}
	if err != nil {
		o.end = err
		_ = o.file.Close()
	}
	return n, err
}

// tail keeps the last limit bytes written to it.
type tail struct {
	limit int
	bytes []byte
}

func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	if n >= t.limit {
		t.bytes = append(t.bytes[:0], b[n-t.limit:]...)
		return n, nil
	}
	if over := len(t.bytes) + n - t.limit; over > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
	t.bytes = append(t.bytes, b...)
	return n, nil
}
