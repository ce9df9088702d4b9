package lane

import (
	"cmp"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

var (
	simReplay    = flag.String("lane.replay", "", "replay this one schedule and print its steps")
	simSchedules = flag.Int("lane.schedules", 20_000, "how many schedules the simulation runs")
)

// TestSimulation runs schedules of one lane, two workers, Telegram and the network
// between them, in which gateway and worker die, messages come late, twice or
// never, disks are replaced, commits fail and people cancel, at any step. A failing
// schedule is replayed with -lane.replay.
func TestSimulation(t *testing.T) {
	if *simReplay != "" {
		s, err := parseSchedule(*simReplay)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(s, Step)
		w.trace = func(line string) { t.Log(line) }
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	schedules := make([]schedule, *simSchedules)
	for i := range schedules {
		schedules[i].seed = uint64(i + 1)
	}
	deaths := simulate(t, schedules)
	t.Logf("%d schedules; deaths in them, by the crash table's rows and by the lane's steps (+: it waits):\n%v", len(schedules), deaths)
	if missing := deaths.missing(); len(missing) > 0 && len(schedules) >= 20_000 {
		t.Errorf("what never happened: %v", missing)
	}
}

// TestEveryFaultAtEveryStep lets one thing go wrong in a world in which nothing
// else does: every thing, at every step and every commit there is.
func TestEveryFaultAtEveryStep(t *testing.T) {
	if *simReplay != "" {
		return // TestSimulation replays it
	}
	var schedules []schedule
	for seed := uint64(1); seed <= uint64(max(2, *simSchedules/5_000)); seed++ {
		w := newWorld(schedule{seed: seed, fault: gatewayDies}, Step) // at no step
		if err := w.run(); err != nil {
			t.Fatalf("replay with -lane.replay=%v: %v", w.schedule, err)
		}
		for f := nothing + 1; f < faults; f++ {
			places := w.steps
			if f.atCommit() {
				places = w.commits
			}
			for at := 1; at <= places; at++ {
				schedules = append(schedules, schedule{seed: seed, fault: f, at: at})
			}
		}
	}
	simulate(t, schedules)
	t.Logf("%d schedules", len(schedules))
}

// simulate plays schedules on every processor and returns who died in them.
func simulate(t *testing.T, schedules []schedule) deaths {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	all := deaths{}
	var failed []*world
	part := len(schedules)/runtime.GOMAXPROCS(0) + 1
	for mine := range slices.Chunk(schedules, part) {
		group.Go(func() {
			met := deaths{}
			for _, s := range mine {
				w := newWorld(s, Step)
				w.deaths = met
				if w.run() != nil {
					mu.Lock()
					failed = append(failed, w)
					mu.Unlock()
					break
				}
			}
			mu.Lock()
			all.add(met)
			mu.Unlock()
		})
	}
	group.Wait()
	slices.SortFunc(failed, func(a, b *world) int { return cmp.Compare(a.seed, b.seed) })
	for _, w := range failed {
		t.Errorf("replay with -lane.replay=%v: %v", w.schedule, w.err)
	}
	return all
}

// brokenLanes break one rule each.
var brokenLanes = map[string]func(State, Input) (State, []Effect){
	"an unknown outcome is placed elsewhere": func(s State, in Input) (State, []Effect) {
		if s.Phase == Calling && !s.Waiting && in.Kind == Failed && in.Action == Unknown {
			return State{Phase: Unassigning}, []Effect{Close, Unassign}
		}
		return Step(s, in)
	},
	"what may be at a lost worker is placed elsewhere": func(s State, in Input) (State, []Effect) {
		if s.Phase == Calling && !s.Waiting && in.Kind == Failed && in.Action == Lost {
			return State{Phase: Unassigning}, []Effect{Close, Unassign}
		}
		return Step(s, in)
	},
	"what ran at a lost worker runs again": func(s State, in Input) (State, []Effect) {
		if s.Phase == Attaching && !s.Waiting && in.Kind == Failed && in.Action == Lost {
			return State{Phase: Placing}, []Effect{Close, Place}
		}
		return Step(s, in)
	},
	"a lost worker is waited for": func(s State, in Input) (State, []Effect) {
		if in.Kind == Failed && in.Action == Lost {
			return s, nil
		}
		return Step(s, in)
	},
	"a full worker is left in spite of doubt": func(s State, in Input) (State, []Effect) {
		s.Doubt = false
		return Step(s, in)
	},
	"RunTurn before ASSIGNED": func(s State, in Input) (State, []Effect) {
		if s.Phase == Placing && in.Kind == Placed {
			return State{Phase: Calling}, []Effect{Run}
		}
		return Step(s, in)
	},
	"an interrupted turn runs again by itself": func(s State, in Input) (State, []Effect) {
		if in.Kind == Finished && in.Outcome == Interrupted && s.Phase == Following {
			return State{Phase: Calling}, []Effect{Close, Run}
		}
		return Step(s, in)
	},
	"acknowledged before the commit": func(s State, in Input) (State, []Effect) {
		next, effects := Step(s, in)
		if next.Phase == Settling && s.Phase == Following {
			effects = append([]Effect{Acknowledge}, effects...)
		}
		return next, effects
	},
	"what is held back goes on": func(s State, in Input) (State, []Effect) {
		in.Head.HeldBack = false
		return Step(s, in)
	},
	"what is held back is let go on at once": func(s State, in Input) (State, []Effect) {
		in.Head.Lapsed = in.Head.HeldBack
		return Step(s, in)
	},
	"what is held back waits for ever": func(s State, in Input) (State, []Effect) {
		if in.Kind == Lapse {
			return s, nil
		}
		return Step(s, in)
	},
	"a cut stream is not watched again": func(s State, in Input) (State, []Effect) {
		if s.Phase == Following && in.Kind == Failed {
			return s, nil
		}
		return Step(s, in)
	},
	"a failed commit is taken for one that happened": func(s State, in Input) (State, []Effect) {
		if in.Kind == CommitFailed {
			in.Kind = Committed
		}
		return Step(s, in)
	},
	"a replaced disk is asked to run it again": func(s State, in Input) (State, []Effect) {
		if in.Kind == Failed && in.Action == InterruptAndUnpin {
			in.Action = WaitOrPlace
			s.Doubt, s.Held, s.Phase, s.Waiting = false, false, Calling, false
		}
		return Step(s, in)
	},
}

// failing is the first schedule that a broken lane does not get through.
func failing(step func(State, Input) (State, []Effect)) (w *world) {
	for seed := uint64(1); seed <= 5_000; seed++ {
		if w = newWorld(schedule{seed: seed}, step); w.run() != nil {
			return w
		}
	}
	return nil
}

func TestSimulationCatchesBrokenLanes(t *testing.T) {
	for name, broken := range brokenLanes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if failing(broken) == nil {
				t.Error("5000 schedules went well")
			}
		})
	}
}

func TestAFailingScheduleReplaysExactly(t *testing.T) {
	for name, broken := range brokenLanes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := failing(broken)
			if first == nil {
				t.Fatal("5000 schedules went well")
			}
			replayed, err := parseSchedule(first.schedule.String())
			if err != nil {
				t.Fatal(err)
			}
			var traces [2][]string
			for i := range traces {
				w := newWorld(replayed, broken)
				w.trace = func(line string) { traces[i] = append(traces[i], line) }
				if err := w.run(); err == nil || err.Error() != first.err.Error() {
					t.Errorf("first: %v; replayed: %v", first.err, err)
				}
			}
			if len(traces[0]) == 0 || !slices.Equal(traces[0], traces[1]) {
				t.Error("two replays differ")
			}
		})
	}
}

func TestSchedulesAreNamed(t *testing.T) {
	for _, s := range []schedule{{seed: 17}, {seed: 3, fault: diesAfter, at: 12}, {seed: 3, fault: gatewayDies, at: 1}} {
		if got, err := parseSchedule(s.String()); err != nil || got != s {
			t.Errorf("%v is read as %v: %v", s, got, err)
		}
	}
	for _, text := range []string{"", "x", "1,2", "1,x,cancelled", "1,2,lunch", "1,2,cancelled,3"} {
		if s, err := parseSchedule(text); err == nil {
			t.Errorf("%q is read as %v", text, s)
		}
	}
	if names := fmt.Sprint(faultNames); len(faultNames) != int(faults) || slices.Contains(faultNames[:], "") {
		t.Errorf("names are %s", names)
	}
}
