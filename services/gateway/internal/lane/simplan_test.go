package lane

import (
	"fmt"
	"slices"
	"strings"
)

// A schedule is all that decides about what happens in a world. Most have many
// faults, at random; a planned one has a single fault at a given place.
type schedule struct {
	seed  uint64
	fault fault
	at    int // the step, or the commit, from 1
}

// String is the schedule as -lane.replay takes it.
func (s schedule) String() string {
	if s.fault == nothing {
		return fmt.Sprint(s.seed)
	}
	return fmt.Sprintf("%d,%d,%s", s.seed, s.at, s.fault)
}

func parseSchedule(text string) (s schedule, err error) {
	words := strings.Split(text, ",")
	if _, err := fmt.Sscan(words[0], &s.seed); err != nil || len(words) == 1 {
		return s, err
	}
	if len(words) != 3 {
		return s, fmt.Errorf("%q is not SEED or SEED,PLACE,FAULT", text)
	}
	if _, err := fmt.Sscan(words[1], &s.at); err != nil {
		return s, err
	}
	i := slices.Index(faultNames[:], words[2])
	if i < 0 {
		return s, fmt.Errorf("%q is none of %v", words[2], faultNames)
	}
	s.fault = fault(i)
	return s, nil
}

// A fault is what goes wrong in a planned schedule.
type fault uint8

const (
	nothing      fault = iota
	gatewayDies        // between two steps
	gatewayEnds        // in good order
	worker0Dies        // and comes back with what it had
	worker1Dies        //
	disk0Lost          // the worker dies, and its disk with it
	disk1Lost          //
	callCut            // the open call breaks off
	cancelled          // the person asks to stop the head
	written            // the person writes another message
	diesBefore         // the gateway, instead of a commit
	commitLost         // the commit fails
	commitUnsure       // the commit fails, and has happened
	diesAfter          // the gateway, right after a commit
	faults
)

var faultNames = [faults]string{"nothing", "gateway-dies", "gateway-ends", "worker-0-dies", "worker-1-dies", "disk-0-lost", "disk-1-lost",
	"call-cut", "cancelled", "written", "dies-before-commit", "commit-lost", "commit-unsure", "dies-after-commit"}

func (f fault) String() string { return faultNames[f] }

// atCommit says whether the place of a fault is a commit, not a step.
func (f fault) atCommit() bool { return f >= diesBefore }

// planned lets the planned fault happen, if this is its step.
func (w *world) planned() {
	if w.steps++; w.steps != w.at || w.fault.atCommit() {
		return
	}
	w.note("planned: %v", w.fault)
	switch w.fault {
	case gatewayDies:
		w.crash()
	case gatewayEnds:
		w.leave()
	case worker0Dies, worker1Dies:
		w.kill(int(w.fault - worker0Dies))
	case disk0Lost, disk1Lost:
		w.kill(int(w.fault - disk0Lost))
		w.replace(int(w.fault - disk0Lost))
	case callCut:
		w.fail(w.gateway.call, Unknown)
	case cancelled:
		w.cancel()
	case written:
		w.write()
	}
}

// result is what the gateway knows about a commit that it tried.
type result uint8

const (
	committed result = iota
	unsure           // it failed, or nobody knows
	dead             // nobody is left to know
)

// transaction commits, unless the gateway dies before or after it, or it fails,
// whether it happened or not.
func (w *world) transaction(apply func()) result {
	w.commits++
	now := nothing
	switch {
	case w.fault.atCommit() && w.commits == w.at:
		now = w.fault
	case !w.calm:
		now = diesBefore + fault(w.IntN(40))
	}
	if now == diesBefore {
		w.crash()
		return dead
	}
	if now == commitLost {
		return unsure
	}
	apply()
	switch now {
	case diesAfter:
		w.crash()
		return dead
	case commitUnsure:
		return unsure
	}
	return committed
}
