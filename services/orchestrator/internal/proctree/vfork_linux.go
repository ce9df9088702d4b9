//go:build linux && (amd64 || arm64)

package proctree

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child does between its creation and its program is done here, on the pattern of package syscall's own
// forkAndExecInChild1. The child shares the worker's memory and the stack of the calling thread, which stands still until the
// child executes its program or ends. So nothing may be done in it that Go code usually may: no allocation, no lock, no growing
// stack, no pointer written. It makes the system calls of a plan and nothing else.

// argument is one of a system call: a number, or an address, which the plan keeps alive by holding it as a pointer.
type argument struct {
	number  uintptr
	address unsafe.Pointer
}

// at is the address of something on the heap, where nothing moves.
func at[T any](v *T) argument { return argument{address: unsafe.Pointer(v)} }

// value must not split the stack, and the race detector must not look on: see above.
//
//go:nosplit
//go:norace
func (a *argument) value() uintptr {
	if a.address != nil {
		return uintptr(a.address) // used within the call it is an argument of
	}
	return a.number
}

// run makes the system calls of p on the calling thread, up to the first that fails. In a child, what it writes to p is seen by
// the worker, whose memory it is.
//
//go:nosplit
//go:norace
func (p *plan) run() {
	var last uintptr
	steps := p.steps // a local, so that no access needs a check, which could panic
	for i := range steps {
		s := &steps[i]
		if s.onLast {
			s.args[0].number = last
		}
		result, _, errno := syscall.RawSyscall6(s.call,
			s.args[0].value(), s.args[1].value(), s.args[2].value(), s.args[3].value(), s.args[4].value(), 0)
		if errno != 0 && !s.optional {
			p.failed, p.errno = i, errno
			return
		}
		last = result
	}
}

// fork starts a child that runs p, and returns when it executes its program or has ended. The calling goroutine must be locked to
// its thread, which is the child's parent.
func (p *plan) fork(flags uintptr) (pid int, err error) {
	// Without signals: their handlers are Go code, and the child has them until its program begins.
	all, old := ^uint64(0), uint64(0)
	syscall.ForkLock.Lock()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	child, errno := p.vfork(flags | unix.CLONE_VFORK | unix.CLONE_VM | uintptr(unix.SIGCHLD))
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, syscall.Errno(errno)
	}
	return int(child), nil
}

// vfork is a function of its own, and not inlined, so that the child, which never returns from it, has a stack frame to itself:
// the worker goes on in fork, and reads nothing in this frame that the child may have overwritten.
//
//go:noinline
//go:norace
func (p *plan) vfork(flags uintptr) (pid, errno uintptr) {
	pid, errno = rawVfork(flags)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	p.run() // returns only when a step has failed
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// rawVfork is clone(flags) without a stack of its own for the child. It is not syscall.RawSyscall, since the child's next calls
// overwrite the address on the stack to which the worker is to return: it is kept in a register.
func rawVfork(flags uintptr) (pid, errno uintptr)
