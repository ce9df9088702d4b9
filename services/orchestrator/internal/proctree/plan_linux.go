package proctree

import (
	"io/fs"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// plan is what a child does to become its program, as a list of system calls with all they need laid out beforehand: the child
// itself can do nothing else (see fork). It is made in ordinary code, by methods that each add what they are named after.
type plan struct {
	steps  []step
	err    error // of making the plan
	failed int   // the step that failed, where errno is not 0
	errno  syscall.Errno
}

// step is one system call.
type step struct {
	op, path string // for the error of its failure
	call     uintptr
	args     [5]argument
	optional bool // a failure is no reason to stop
	onLast   bool // the first argument is the result of the step before
}

// must adds a system call without which there is no program.
func (p *plan) must(op, path string, call uintptr, args ...argument) *step {
	p.steps = append(p.steps, step{op: op, path: path, call: call})
	added := &p.steps[len(p.steps)-1]
	copy(added.args[:], args)
	return added
}

// may adds one that may fail.
func (p *plan) may(call uintptr, args ...argument) { p.must("", "", call, args...).optional = true }

func number[T ~int | ~int32 | ~uintptr](n T) argument { return argument{number: uintptr(n)} }

// text is the address of a string's bytes and a NUL.
func (p *plan) text(s string) argument {
	b, err := unix.BytePtrFromString(s)
	if err != nil {
		p.err = err
	}
	return at(b)
}

// texts is the address of a list of such strings.
func (p *plan) texts(list []string) argument {
	pointers, err := syscall.SlicePtrFromStrings(list)
	if err != nil {
		p.err = err
		return argument{}
	}
	return at(&pointers[0])
}

// here is the directory that relative paths begin from.
func here() argument { return number(unix.AT_FDCWD) }

func (p *plan) mount(source, target, kind string, flags int, data string) {
	p.must("mount", target, unix.SYS_MOUNT, p.text(source), p.text(target), p.text(kind), number(flags), p.text(data))
}

// write writes content to a file that is there.
func (p *plan) write(path string, content []byte) {
	p.must("open", path, unix.SYS_OPENAT, here(), p.text(path), number(unix.O_WRONLY|unix.O_CLOEXEC))
	p.must("write", path, unix.SYS_WRITE, argument{}, at(&content[0]), number(len(content))).onLast = true
}

// streams gives the child its standard streams.
func (p *plan) streams(files endpoints) {
	for fd, file := range []interface{ Fd() uintptr }{files.stdin, files.stdout, files.stderr} {
		p.must("dup3", "", unix.SYS_DUP3, number(file.Fd()), number(fd), number(0))
	}
}

// become ends the plan: the program takes the child's place.
func (p *plan) become(prog program) {
	p.must("chdir", prog.dir, unix.SYS_CHDIR, p.text(prog.dir))
	p.must(execution, prog.path, unix.SYS_FACCESSAT, here(), p.text(prog.path), number(unix.F_OK))
	p.must(execution, prog.path, unix.SYS_EXECVE, p.text(prog.path), p.texts(prog.args), p.texts(prog.env))
}

// execution is the op of the steps that find and execute the program.
const execution = "exec"

// failure is why a child that was forked has not become its program, nil if it has.
func (p *plan) failure() *SpawnError {
	if p.errno == 0 {
		return nil
	}
	s, kind := p.steps[p.failed], Refused
	missing := p.errno == unix.ENOENT || p.errno == unix.ENOTDIR
	switch {
	case s.op != execution:
	case missing && s.call == unix.SYS_EXECVE: // the interpreter: the program itself was there a moment ago
		kind = NotExecutable
	case missing:
		kind = NotFound
	default:
		kind = execKind(s.path, p.errno)
	}
	return &SpawnError{Kind: kind, Err: &fs.PathError{Op: s.op, Path: s.path, Err: p.errno}}
}

// carryOut does what p says in the calling thread itself, as far as it goes.
func (p *plan) carryOut() error {
	p.run()
	runtime.KeepAlive(p)
	if p.err == nil && p.errno != 0 {
		return p.errno
	}
	return p.err
}

// freshSignals makes the child one that handles, ignores and blocks no signal, as a program expects to begin. The handlers go
// first: an unblocked signal would run them.
func (p *plan) freshSignals() {
	var nothing [32]byte // a struct sigaction, a sigset_t
	for signal := 1; signal <= 64; signal++ {
		if s := unix.Signal(signal); s != unix.SIGKILL && s != unix.SIGSTOP {
			p.may(unix.SYS_RT_SIGACTION, number(signal), at(&nothing), number(0), number(8))
		}
	}
	p.must("sigprocmask", "", unix.SYS_RT_SIGPROCMASK, number(unix.SIG_SETMASK), at(&nothing), number(0), number(8))
}
