package proctree

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// watchInterval is how often a child's descendants are looked for. One that leaves the group and loses its parent within
// one interval escapes: macOS offers an ordinary process nothing that holds them together.
const watchInterval = 200 * time.Millisecond

var errLinuxOnly = errors.New("containment modes exist on Linux only")

// platform is the macOS side of a Supervisor.
type platform struct{ notes string }

func openPlatform(opts Options) (*platform, error) {
	if opts.Mode != Auto {
		return nil, errLinuxOnly
	}
	p := &platform{}
	if opts.StateDir != "" {
		p.notes = filepath.Join(opts.StateDir, "children")
		if err := killAbandoned(p.notes); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *platform) containment() string { return "process-group" }
func (p *platform) close() error        { return nil }

func (p *platform) start(path string, spec Spec, stdio endpoints) (child, error) {
	process, err := os.StartProcess(path, append([]string{path}, spec.Args...), &os.ProcAttr{
		Dir:   spec.Dir,
		Env:   append([]string{}, spec.Env...), // not nil, which would mean the worker's
		Files: []*os.File{stdio.stdin, stdio.stdout, stdio.stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		kind := Refused
		var errno syscall.Errno
		if errors.As(err, &errno) {
			kind = execKind(path, errno)
		}
		return nil, &SpawnError{Kind: kind, Err: err}
	}
	g := &group{process: process, ended: make(chan struct{}), watched: make(chan struct{})}
	if g.family, err = newFamily(process.Pid); err == nil && p.notes != "" {
		g.note, err = takeNote(p.notes, rand.Text(), g.family.String())
	}
	if err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return nil, &SpawnError{Kind: Refused, Err: fmt.Errorf("containment: %w", err)}
	}
	go g.watch()
	return g, nil
}

// group is a child, its session and whatever was seen to descend from it.
type group struct {
	process *os.Process
	note    *note // nil: none is taken

	mu     sync.Mutex
	family *family

	ended   chan struct{} // closed when the child itself has ended
	watched chan struct{} // closed when watch has returned
}

// observe looks for new descendants, notes them and returns all that live.
func (g *group) observe() ([]identity, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	living, fresh, err := g.family.observe()
	if g.note != nil {
		for _, id := range fresh {
			_, _ = g.note.file.WriteString(id.String() + "\n")
		}
	}
	return living, err
}

func (g *group) watch() {
	defer close(g.watched)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-g.ended:
			return
		case <-ticker.C:
			_, _ = g.observe() // the next look comes soon
		}
	}
}

func (g *group) interrupt() error {
	_, _ = g.observe() // while the child still lives and so shows who descends from it
	if err := g.process.Signal(syscall.SIGINT); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (g *group) kill() error {
	living, _ := g.observe() // wait looks again
	if err := g.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for _, id := range living {
		id.kill()
	}
	return nil
}

func (g *group) wait() Exit {
	state, err := g.process.Wait()
	close(g.ended)
	<-g.watched
	blind := emptied(func() (int, error) {
		living, err := g.observe()
		for _, id := range living {
			id.kill()
		}
		return len(living), err
	})
	switch {
	case g.note == nil:
	case blind != nil:
		_ = g.note.file.Close() // it stays for the next New
	default:
		g.note.remove()
	}
	if err = errors.Join(err, blind); err != nil {
		return Exit{Code: -1, Err: err}
	}
	return exitOf(state.Sys().(syscall.WaitStatus))
}
