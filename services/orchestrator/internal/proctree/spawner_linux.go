package proctree

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// spawner starts processes from one OS thread that lives as long as it does. A parent-death signal is tied to the *thread* that
// forked: from an ordinary goroutine's thread it would strike healthy children whenever the Go runtime retires the thread.
type spawner struct {
	thread *os.File // directory of the thread in /proc: nothing is in it once the thread has ended
	jobs   chan func()
	ready  chan struct{}
	done   chan struct{}
}

func newSpawner() (*spawner, error) {
	s := &spawner{jobs: make(chan func()), ready: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	var err error
	s.do(func() { s.thread, err = os.Open("/proc/thread-self") })
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *spawner) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	if unix.Gettid() == os.Getpid() {
		// The directory of a process's first thread stays, though it has ended, until all of them have.
		go s.run() // elsewhere, since this thread is taken
		<-s.ready
		runtime.UnlockOSThread()
		return
	}
	close(s.ready)
	defer close(s.done)
	for job := range s.jobs {
		job()
	}
}

// do runs job in the thread.
func (s *spawner) do(job func()) {
	finished := make(chan struct{})
	s.jobs <- func() {
		defer close(finished)
		job()
	}
	<-finished
}

// close must come after the end of every child.
func (s *spawner) close() {
	close(s.jobs)
	<-s.done
	if s.thread != nil {
		_ = s.thread.Close()
	}
}
