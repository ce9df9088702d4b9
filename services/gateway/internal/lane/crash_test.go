package lane

import (
	"slices"
	"testing"
)

// play runs inputs from a fresh state, as a restarted gateway does, and returns
// the end state and all effects.
func play(t *testing.T, in ...Input) (State, []Effect) {
	t.Helper()
	var s State
	var all []Effect
	for _, i := range append([]Input{{Kind: Wake}}, in...) {
		var effects []Effect
		s, effects = Step(s, i)
		all = append(all, effects...)
	}
	return s, all
}

func head(stored Stored) Input { return Input{Kind: Loaded, Head: Head{Stored: stored}} }

// TestRestartAfterCrash has one row for each crash of the gateway or worker that
// concerns a lane. What the crash left in the store or in the worker's journal
// is the first input or two.
func TestRestartAfterCrash(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after []Input
		want  []Effect
	}{
		{"the updates are committed: the turn is placed",
			[]Input{head(Queued)},
			[]Effect{Load, Place}},
		{"ASSIGNED, before RunTurn: RunTurn to the same worker starts it",
			[]Input{head(Assigned), {Kind: Joined}},
			[]Effect{Load, Run, Accept}},
		{"RunTurn sent, not yet ACCEPTED: the same call attaches",
			[]Input{head(Assigned), {Kind: Joined}, {Kind: Committed}, {Kind: Finished}},
			[]Effect{Load, Run, Accept, Close, Finish}},
		{"ACCEPTED, mid-stream: WatchTurn replays everything",
			[]Input{head(Accepted), {Kind: Joined}, {Kind: Named}, {Kind: Committed}, {Kind: Finished}, {Kind: Committed}},
			[]Effect{Load, Watch, Name, Close, Finish, Acknowledge, Load}},
		{"finished event, before FINISHED is committed: replayed from the journal",
			[]Input{head(Accepted), {Kind: Joined}, {Kind: Finished}, {Kind: Committed}},
			[]Effect{Load, Watch, Close, Finish, Acknowledge, Load}},
		{"FINISHED: the lane goes on, the outbox sends",
			[]Input{head(Nothing)},
			[]Effect{Load}},
		{"worker: journal row, before spawn or while Codex ran: the person decides",
			[]Input{head(Accepted), {Kind: Joined}, {Kind: Finished, Outcome: Interrupted}, {Kind: Committed}},
			[]Effect{Load, Watch, Close, Interrupt, Acknowledge, Load}},
		{"worker: the same, gateway not yet ACCEPTED",
			[]Input{head(Assigned), {Kind: Joined}, {Kind: Committed}, {Kind: Finished, Outcome: Interrupted}},
			[]Effect{Load, Run, Accept, Close, Interrupt}},
		{"worker: disk gone after ACCEPTED",
			[]Input{head(Accepted), {Kind: Failed, Action: InterruptAndUnpin}},
			[]Effect{Load, Watch, Close, InterruptUnpin}},
		{"worker: disk gone after ASSIGNED",
			[]Input{head(Assigned), {Kind: Failed, Action: InterruptAndUnpin}},
			[]Effect{Load, Run, Close, InterruptUnpin}},
		{"worker: lost after ACCEPTED: the person decides",
			[]Input{head(Accepted), {Kind: Failed, Action: Lost}, {Kind: Committed}},
			[]Effect{Load, Watch, Close, Interrupt, Acknowledge, Load}},
		{"worker: lost after ASSIGNED: it may have run there",
			[]Input{head(Assigned), {Kind: Failed, Action: Lost}},
			[]Effect{Load, Run, Close, Interrupt}},
		{"cancel asked before the crash, still QUEUED: ends without a run",
			[]Input{{Kind: Loaded, Head: Head{Stored: Queued, Cancelled: true}}},
			[]Effect{Load, FinishCancelled}},
		{"cancel asked before the crash, ASSIGNED: the worker is asked first",
			[]Input{{Kind: Loaded, Head: Head{Stored: Assigned, Cancelled: true}}},
			[]Effect{Load, CancelTurn, Run}},
		{"wish for a new thread: settled in its turn",
			[]Input{head(NewChat), {Kind: Committed}},
			[]Effect{Load, SettleNew, Load}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, effects := play(t, tt.after...); !slices.Equal(effects, tt.want) {
				t.Errorf("effects = %v, want %v", effects, tt.want)
			}
		})
	}
}

func TestThreadThatCannotBeResumedStartsAgainInANewOne(t *testing.T) {
	_, effects := play(t, head(Accepted), Input{Kind: Joined}, Input{Kind: Finished, Outcome: NotResumable},
		Input{Kind: Committed}, head(Queued))
	if want := []Effect{Load, Watch, Close, Restart, Acknowledge, Load, Place}; !slices.Equal(effects, want) {
		t.Errorf("effects = %v, want %v", effects, want)
	}
}

func TestFailedCommitReadsTheStoreAgain(t *testing.T) {
	for _, s := range []State{
		{Phase: Assigning}, {Phase: Accepting, Doubt: true}, {Phase: Naming}, {Phase: Unassigning},
		{Phase: Settling, Ending: Finish}, {Phase: Loading}, {Phase: Parking},
	} {
		next, effects := Step(s, Input{Kind: CommitFailed})
		if next != (State{Phase: Loading, Waiting: true}) || !slices.Equal(effects, []Effect{Close, Pause}) {
			t.Errorf("%+v: %+v %v", s, next, effects)
		}
	}
}
