package lane

import (
	"flag"
	"testing"
)

var (
	simSeed      = flag.Uint64("lane.seed", 0, "replay this one schedule and print its steps")
	simSchedules = flag.Int("lane.schedules", 20_000, "how many schedules the simulation runs")
)

// TestSimulation runs random schedules of one lane, two workers and the network
// between them, in which gateway and worker crash, messages come late or never,
// disks are replaced and people cancel, at any step. A failing seed is replayed
// with -lane.seed.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		w := newWorld(*simSeed, Step)
		w.trace = t.Logf
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *simSchedules
	if testing.Short() {
		n /= 10
	}
	for seed := uint64(1); seed <= uint64(n); seed++ {
		if err := newWorld(seed, Step).run(); err != nil {
			t.Fatalf("replay with -lane.seed=%d: %v", seed, err)
		}
	}
}

// TestSimulationCatchesBrokenLanes breaks one rule at a time; the simulation
// must notice each.
func TestSimulationCatchesBrokenLanes(t *testing.T) {
	for name, broken := range map[string]func(State, Input) (State, []Effect){
		"an unknown outcome is placed elsewhere": func(s State, in Input) (State, []Effect) {
			if s.Phase == Calling && !s.Waiting && in.Kind == Failed && in.Action == Unknown {
				return State{Phase: Unassigning}, []Effect{Close, Unassign}
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
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 5_000; seed++ {
				if newWorld(seed, broken).run() != nil {
					return
				}
			}
			t.Error("5000 schedules went well")
		})
	}
}
