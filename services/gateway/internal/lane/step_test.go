package lane

import (
	"fmt"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inputs are all inputs there are.
func inputs() []Input {
	var all []Input
	for kind := Wake; kind <= Stop; kind++ {
		switch kind {
		case Loaded:
			for stored := Nothing; stored <= Accepted; stored++ {
				for bits := range 16 {
					all = append(all, Input{Kind: kind, Head: Head{Stored: stored, Held: bits&1 > 0, Cancelled: bits&2 > 0,
						HeldBack: bits&4 > 0, Lapsed: bits&8 > 0}})
				}
			}
		case Failed:
			for action := Unknown; action <= Lost; action++ {
				all = append(all, Input{Kind: kind, Action: action})
			}
		case Finished:
			for outcome := Ended; outcome <= NotStarted; outcome++ {
				all = append(all, Input{Kind: kind, Outcome: outcome})
			}
		default:
			all = append(all, Input{Kind: kind})
		}
	}
	return all
}

// states are all values a State can have, reachable or not.
func states() []State {
	var all []State
	for phase := Idle; phase <= Left; phase++ {
		for bits := range 16 {
			s := State{Phase: phase, Waiting: bits&1 > 0, Held: bits&2 > 0, Doubt: bits&4 > 0, Cancelled: bits&8 > 0}
			if phase != Settling {
				all = append(all, s)
				continue
			}
			for ending := Finish; ending <= SettleNew; ending++ {
				s.Ending = ending
				all = append(all, s)
			}
		}
	}
	return all
}

// reachable are the states that some history leads to.
func reachable() map[State]bool {
	seen := map[State]bool{{}: true}
	for todo := []State{{}}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		for _, in := range inputs() {
			if next, _ := Step(s, in); !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	return seen
}

func has(effects []Effect, any ...Effect) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { return slices.Contains(any, e) })
}

func TestEveryInputIsDefinedInEveryState(t *testing.T) {
	for _, s := range states() {
		for _, in := range inputs() {
			next, effects := Step(s, in)
			if err := sound(s, in, next, effects); err != nil {
				t.Fatalf("%+v --%+v--> %+v %v: %v", s, in, next, effects, err)
			}
		}
	}
}

// sound checks what must hold of every single step.
func sound(s State, in Input, next State, effects []Effect) error {
	commits := 0
	for _, e := range effects {
		if e == None {
			return fmt.Errorf("an effect that is none")
		}
		if e == Load || e >= Accept && e <= SettleNew || e == Assign {
			commits++
		}
	}
	started := next.effect() != None && !next.Waiting && (next.Phase != s.Phase || s.Waiting)
	switch {
	case commits > 1:
		return fmt.Errorf("%d commits in one step", commits)
	case s.Phase == Left && (next != s || len(effects) > 0):
		return fmt.Errorf("a lane that was left goes on")
	case in.Kind == Stop && next.Phase != Left:
		return fmt.Errorf("goes on after Stop")
	case has(effects, Pause) && !next.Waiting:
		return fmt.Errorf("pauses without waiting")
	case next.Waiting && !s.Waiting && !has(effects, Pause):
		return fmt.Errorf("waits for no pause")
	case started && !has(effects, next.effect()):
		return fmt.Errorf("phase entered without its effect")
	case has(effects, Run, Watch, Place) && next.effect() != effects[len(effects)-1]:
		return fmt.Errorf("effect of another phase")
	case has(effects, Acknowledge) && (s.Phase != Settling || in.Kind != Committed):
		return fmt.Errorf("acknowledged before the outcome is stored")
	}
	return nil
}

func TestReachableStatesKeepTheRules(t *testing.T) {
	all := reachable()
	t.Logf("%d reachable states", len(all))
	journaled := []Phase{Accepting, Attaching, Following, Naming}
	for s := range all {
		if s.Doubt && slices.Contains([]Phase{Idle, Loading, Placing, Assigning, Unassigning}, s.Phase) {
			t.Errorf("%+v: doubt about a turn that no worker was asked to run", s)
		}
		if s.Waiting && (s.effect() == None || s.Phase.committing()) {
			t.Errorf("%+v: waits for nothing, or with a commit", s)
		}
		for _, in := range inputs() {
			next, effects := Step(s, in)
			if slices.Contains(journaled, s.Phase) && has(effects, Run, Place, Assign, Unassign, FinishCancelled) {
				t.Errorf("%+v --%+v--> %v: a journaled turn may run again", s, in, effects)
			}
			if s.Doubt && has(effects, Place, Assign, Unassign, FinishCancelled) {
				t.Errorf("%+v --%+v--> %v: a turn in doubt may run elsewhere", s, in, effects)
			}
			if in.Kind == Failed && in.Action == Lost && has(effects, Unassign) != (s.Phase == Calling && !s.Waiting && !s.Doubt && !s.Cancelled) {
				t.Errorf("%+v --%+v--> %v: what may be at a lost worker is placed elsewhere, or what cannot be is not", s, in, effects)
			}
			if next.Phase == Calling && s.Phase == Placing {
				t.Errorf("%+v --%+v-->: called before ASSIGNED is committed", s, in)
			}
		}
	}
}

// TestCallFailures is the table of reasons, for each kind of call.
func TestCallFailures(t *testing.T) {
	calling := State{Phase: Calling}
	held := State{Phase: Calling, Held: true}
	doubtful := State{Phase: Calling, Doubt: true}
	probing := State{Phase: Probing, Doubt: true}
	attaching, following := State{Phase: Attaching}, State{Phase: Following}
	for _, tt := range []struct {
		name    string
		state   State
		action  Action
		phase   Phase
		waiting bool
		effect  Effect
	}{
		{"a new turn is refused", calling, Fail, Settling, false, FinishAbsent},
		{"a turn in doubt is refused", doubtful, Fail, Settling, false, FinishRefused},
		{"a running turn is refused", following, Fail, Settling, false, FinishRefused},
		{"its id was used before, by another turn", calling, Alarm, Settling, false, Renumber},
		{"its id was used before, seen late", doubtful, Alarm, Settling, false, FinishAbsent},
		{"its id was used before, seen while watching", attaching, Alarm, Settling, false, FinishAbsent},
		{"session busy", calling, Wait, Calling, true, Pause},
		{"session busy in doubt", doubtful, Wait, Calling, true, Pause},
		{"journal unavailable while probing", probing, Wait, Probing, true, Pause},
		{"journal unavailable while watching", attaching, Wait, Attaching, true, Pause},
		{"worker full, new session", calling, WaitOrPlace, Unassigning, false, Unassign},
		{"worker full or draining, session with a thread", held, WaitOrPlace, Unassigning, false, Unassign},
		{"worker full, turn in doubt", doubtful, WaitOrPlace, Calling, true, Pause},
		{"disk replaced before the answer", calling, InterruptAndUnpin, Settling, false, InterruptUnpin},
		{"disk replaced, in doubt", probing, InterruptAndUnpin, Settling, false, InterruptUnpin},
		{"disk replaced under a running turn", following, InterruptAndUnpin, Settling, false, InterruptUnpin},
		{"turn unknown before ACCEPTED", probing, RunOrInterrupt, Calling, false, Run},
		{"turn unknown after ACCEPTED", attaching, RunOrInterrupt, Settling, false, Interrupt},
		{"turn unknown, said on an open stream", following, RunOrInterrupt, Settling, false, Interrupt},
		{"worker lost, nothing sent", calling, Lost, Unassigning, false, Unassign},
		{"worker lost, nothing sent, session with a thread", held, Lost, Unassigning, false, Unassign},
		{"worker lost, nothing sent, to be cancelled", State{Phase: Calling, Cancelled: true}, Lost, Settling, false, FinishCancelled},
		{"worker lost, turn in doubt", doubtful, Lost, Settling, false, Interrupt},
		{"worker lost while probing", probing, Lost, Settling, false, Interrupt},
		{"worker lost with a running turn", attaching, Lost, Settling, false, Interrupt},
		{"no reason: new call", calling, Unknown, Probing, true, Pause},
		{"no reason: probing", probing, Unknown, Probing, true, Pause},
		{"no reason: watching", attaching, Unknown, Attaching, true, Pause},
		{"no reason: stream cut", following, Unknown, Attaching, true, Pause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next, effects := Step(tt.state, Input{Kind: Failed, Action: tt.action})
			if next.Phase != tt.phase || next.Waiting != tt.waiting || !has(effects, tt.effect) {
				t.Errorf("got %+v %v, want phase %v waiting %v effect %v", next, effects, tt.phase, tt.waiting, tt.effect)
			}
			if has(effects, RaiseAlarm) != (tt.action == Alarm) {
				t.Errorf("alarm raised: %v", has(effects, RaiseAlarm))
			}
			if tt.action == Unknown && tt.state.Phase == Calling && !next.Doubt {
				t.Error("an unknown outcome leaves no doubt")
			}
		})
	}
}

// What has the id of an absent turn is another one, or nothing.
func TestAnAbsentTurnIsNotAcknowledged(t *testing.T) {
	for _, ending := range []Effect{Finish, FinishRefused, FinishAbsent, Renumber} {
		_, effects := Step(State{Phase: Settling, Ending: ending}, Input{Kind: Committed})
		if want := ending == Finish || ending == FinishRefused; has(effects, Acknowledge) != want {
			t.Errorf("%v: %v", ending, effects)
		}
	}
}

func TestCancel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  State
		phase  Phase
		effect Effect // None: none
	}{
		{"waiting for a worker: ends at once", State{Phase: Placing, Waiting: true}, Settling, FinishCancelled},
		{"running: the worker is asked", State{Phase: Following}, Following, CancelTurn},
		{"asked twice: once", State{Phase: Following, Cancelled: true}, Following, None},
		{"worker unreachable: asked when it is back", State{Phase: Attaching, Waiting: true}, Attaching, CancelTurn},
		{"being assigned: noted", State{Phase: Assigning}, Assigning, None},
		{"being settled: too late", State{Phase: Settling, Ending: Finish}, Settling, None},
		{"postponed: looked at again", State{Phase: Loading, Waiting: true}, Loading, Load},
		{"being loaded: seen there", State{Phase: Loading}, Loading, None},
		{"held back: looked at again", State{Phase: Holding}, Loading, Load},
		{"nothing there", State{}, Idle, None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next, effects := Step(tt.state, Input{Kind: Cancel})
			if next.Phase != tt.phase || tt.effect == None && len(effects) > 0 || tt.effect != None && !has(effects, tt.effect) {
				t.Errorf("got %+v %v", next, effects)
			}
		})
	}
}

func TestUnreachableWorkerIsReportedAndLeftOnlyWhenAsked(t *testing.T) {
	s := State{Phase: Probing, Waiting: true, Doubt: true}
	s, effects := Step(s, Input{Kind: Overdue})
	if !slices.Equal(effects, []Effect{Report}) || s.Phase != Probing {
		t.Errorf("overdue: %+v %v", s, effects)
	}
	if s, effects = Step(s, Input{Kind: GiveUp}); s.Phase != Left || !slices.Equal(effects, []Effect{Report, Close, Leave}) {
		t.Errorf("give up: %+v %v", s, effects)
	}
}

func TestATurnThatWasNotStartedIsReportedAndTriedAgainLater(t *testing.T) {
	s, effects := Step(State{Phase: Following}, Input{Kind: Finished, Outcome: NotStarted})
	if s.Phase != Settling || !slices.Equal(effects, []Effect{Close, Postpone}) {
		t.Fatalf("finished: %+v %v", s, effects)
	}
	s, effects = Step(s, Input{Kind: Committed})
	if !slices.Equal(effects, []Effect{Acknowledge, Report, Pause}) {
		t.Errorf("committed: %+v %v", s, effects)
	}
	if left, _ := Step(s, Input{Kind: GiveUp}); left.Phase != Left {
		t.Errorf("give up: %+v", left)
	}
	if s, effects = Step(s, Input{Kind: Elapsed}); !slices.Equal(effects, []Effect{Load}) {
		t.Errorf("elapsed: %+v %v", s, effects)
	}
}

func TestAPromptForANewThreadBecomesAPrompt(t *testing.T) {
	s, effects := Step(State{Phase: Loading}, Input{Kind: Loaded, Head: Head{Stored: NewPrompt, Held: true}})
	if !slices.Equal(effects, []Effect{Renew}) {
		t.Fatalf("loaded: %+v %v", s, effects)
	}
	if s, effects = Step(s, Input{Kind: Committed}); s.Phase != Loading || !slices.Equal(effects, []Effect{Load}) {
		t.Errorf("committed: %+v %v", s, effects)
	}
}
