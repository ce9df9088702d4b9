package proctree

import (
	"os"
	"runtime"
)

// spawner starts processes from one OS thread that lives as long as it does. A parent-death signal is tied to the *thread* that
// forked: from an ordinary goroutine's thread it would strike healthy children whenever the Go runtime retires the thread.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(path string, argv []string, attr *os.ProcAttr) (process *os.Process, err error) {
	finished := make(chan struct{})
	s.jobs <- func() {
		defer close(finished)
		process, err = os.StartProcess(path, argv, attr)
	}
	<-finished
	return process, err
}

// close must come after the end of every child.
func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
