package proctree

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// abandonedGrace bounds what New spends on one abandoned child. Its note stays for the next time.
const abandonedGrace = 5 * time.Second

// identity is a process for good: a PID is reused, a PID with its start time is not.
type identity struct {
	pid          int32
	seconds      int64
	microseconds int32
}

func identityOf(p *unix.KinfoProc) identity {
	return identity{p.Proc.P_pid, p.Proc.P_starttime.Sec, p.Proc.P_starttime.Usec}
}

// String is the identity as a note holds it, one a line.
func (id identity) String() string {
	return fmt.Sprintf("%d %d %d", id.pid, id.seconds, id.microseconds)
}

// kill kills the process if it is still the one. macOS has no handle on a process, so that a moment remains in which the PID could
// pass to another.
func (id identity) kill() {
	if now, err := unix.SysctlKinfoProc("kern.proc.pid", int(id.pid)); err == nil && identityOf(now) == id {
		_ = unix.Kill(int(id.pid), unix.SIGKILL)
	}
}

// family is a set of processes that grows by their descendants and by the members of their groups.
type family struct {
	root  int32 // leader of the child's group; 0: unknown
	known map[identity]bool
}

// newFamily begins with the process root alone, which must not have been waited for yet.
func newFamily(root int) (*family, error) {
	process, err := unix.SysctlKinfoProc("kern.proc.pid", root)
	if err != nil {
		return nil, err
	}
	return &family{root: int32(root), known: map[identity]bool{identityOf(process): true}}, nil
}

// String lists the identities, one a line.
func (f *family) String() string {
	var lines strings.Builder
	for id := range f.known {
		lines.WriteString(id.String() + "\n")
	}
	return lines.String()
}

// observe takes in who has newly joined and returns who lives.
func (f *family) observe() (living, fresh []identity, err error) {
	processes, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, nil, err
	}
	present := make(map[int32]identity, len(processes))
	groups := make(map[int32]bool)
	for i := range processes {
		id := identityOf(&processes[i])
		present[id.pid] = id
		if f.known[id] {
			groups[processes[i].Eproc.Pgid] = true
		}
	}
	// While the leader's number is not another's, the group is still the child's, even when the leader is gone.
	if leader, exists := present[f.root]; f.root != 0 && (!exists || f.known[leader]) {
		groups[f.root] = true
	}
	for id := range f.known {
		if present[id.pid] != id {
			delete(f.known, id) // dead and reaped
		}
	}
	for grown := true; grown; {
		grown = false
		for i := range processes {
			p := &processes[i]
			id := identityOf(p)
			if f.known[id] || !groups[p.Eproc.Pgid] && !f.known[present[p.Eproc.Ppid]] {
				continue
			}
			f.known[id], groups[p.Eproc.Pgid], grown = true, true, true
			fresh = append(fresh, id)
		}
	}
	for i := range processes {
		if id := identityOf(&processes[i]); f.known[id] && processes[i].Proc.P_stat != zombie {
			living = append(living, id)
		}
	}
	return living, fresh, nil
}

// killAbandoned kills the children noted in dir whose worker is gone.
func killAbandoned(dir string) error {
	return eachAbandoned(dir, func(_, content string) (settled bool) {
		left := &family{known: make(map[identity]bool)}
		for line := range strings.Lines(content) {
			var id identity
			if _, err := fmt.Sscan(line, &id.pid, &id.seconds, &id.microseconds); err == nil {
				left.known[id] = true
			}
		}
		for deadline := time.Now().Add(abandonedGrace); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			living, _, err := left.observe()
			if err == nil && len(living) == 0 {
				return true
			}
			for _, id := range living {
				id.kill()
			}
		}
		return false
	})
}
