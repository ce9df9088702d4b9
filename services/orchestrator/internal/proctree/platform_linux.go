package proctree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// probeTimeout bounds the trial of one containment.
const probeTimeout = 10 * time.Second

// way is one manner of containing a child.
type way struct {
	name string
	// namespaces: a PID and mount namespace; the kernel does the killing. Otherwise it is this package's work: see mark.
	namespaces bool
	// user: with a user namespace around them, for a worker that may not make the others itself.
	user bool
	// cgroups is the directory beneath which each child gets a cgroup; empty: none.
	cgroups string
}

// platform is the Linux side of a Supervisor.
type platform struct {
	way     way
	program *os.File     // what shims are started from; nil in namespaces, where there are none
	notes   string       // directory of notes, empty: none are taken
	files   *unix.Rlimit // of open files, for children in namespaces; nil: unknown
	leaving []step       // of children in namespaces, see leave
	spawner *spawner
}

func openPlatform(opts Options) (*platform, error) {
	spawner, err := newSpawner()
	if err != nil {
		return nil, err
	}
	p := &platform{spawner: spawner, files: spawner.inheritedFiles()}
	if opts.StateDir != "" {
		p.notes = filepath.Join(opts.StateDir, "children")
		if err := killAbandoned(p.notes); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	var tried error
	for _, candidate := range ways(opts.Mode) {
		p.way = candidate
		err := p.try()
		if err == nil {
			return p, nil
		}
		tried = errors.Join(tried, fmt.Errorf("%s: %w", candidate.name, err))
	}
	return nil, errors.Join(fmt.Errorf("no containment works: %w", tried), p.close())
}

// ways lists what to try for mode, strongest first.
func ways(mode Mode) []way {
	var list []way
	if mode == Auto || mode == Namespace {
		if os.Geteuid() == 0 {
			list = append(list, way{name: "namespace", namespaces: true})
		}
		list = append(list, way{name: "namespace", namespaces: true, user: true})
	}
	if mode == Auto || mode == Cgroup {
		if base, err := cgroupBase(); err == nil {
			list = append(list, way{name: "cgroup", cgroups: base})
		} else if mode == Cgroup {
			list = append(list, way{name: "cgroup", cgroups: "/sys/fs/cgroup"})
		}
	}
	if mode == Auto || mode == Scan {
		list = append(list, way{name: "scan"})
	}
	return list
}

// try finds out whether the chosen way works.
func (p *platform) try() error {
	if p.way.namespaces {
		if err := p.leave(); err != nil {
			return err
		}
		return p.probe()
	}
	return p.choose(shimPrograms())
}

// probe runs a child that does nothing through the whole of the chosen way: whether a kernel, a container runtime or a security
// module allows it shows in no other manner.
func (p *platform) probe() error {
	ours, theirs, err := openStdio()
	if err != nil {
		return err
	}
	defer ours.close()
	child, err := p.launch(program{path: selfExecutable, args: []string{probeName}, dir: "/"}, theirs)
	theirs.close()
	if err != nil {
		return err
	}
	overdue := time.AfterFunc(probeTimeout, func() { _ = child.kill() })
	defer overdue.Stop()
	if exit := child.wait(); exit.Code != 0 {
		return fmt.Errorf("trial child ended with %d %s: %w", exit.Code, exit.Signal, errors.Join(exit.Err, errTrial))
	}
	return nil
}

var errTrial = errors.New("the program must begin with proctree.Main")

func (p *platform) containment() string { return p.way.name }

func (p *platform) close() error {
	p.spawner.close()
	if p.program == nil {
		return nil
	}
	return p.program.Close()
}

func (p *platform) start(path string, spec Spec, stdio endpoints) (child, error) {
	dir := spec.Dir
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, &SpawnError{Kind: Refused, Err: err}
		}
	}
	widen(stdio.stdout)
	return p.launch(program{
		path: path,
		args: append([]string{path}, spec.Args...),
		dir:  dir,
		env:  spec.Env,
		mask: spec.Mask,
		keep: append([]string{dir}, spec.Keep...),
	}, stdio)
}

// launch starts prog, contained in the chosen way.
func (p *platform) launch(prog program, stdio endpoints) (child, error) {
	if p.way.namespaces {
		return p.settle(prog, stdio)
	}
	return p.guard(prog, stdio)
}
