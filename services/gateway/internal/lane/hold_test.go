package lane

import (
	"slices"
	"testing"
)

func TestAnInterruptedTurnHoldsBackWhatWaited(t *testing.T) {
	heldBack := func(stored Stored) Input { return Input{Kind: Loaded, Head: Head{Stored: stored, HeldBack: true}} }
	lapsed := Input{Kind: Loaded, Head: Head{Stored: Queued, HeldBack: true, Lapsed: true}}
	for _, tt := range []struct {
		name  string
		after []Input
		want  []Effect
	}{
		{"a prompt waits", []Input{heldBack(Queued)}, []Effect{Load, Report, Hold}},
		{"so does a wish for a new thread", []Input{heldBack(NewChat)}, []Effect{Load, Report, Hold}},
		{"and one with a prompt", []Input{heldBack(NewPrompt)}, []Effect{Load, Report, Hold}},
		{"it has waited for long enough", []Input{heldBack(Queued), {Kind: Lapse}, {Kind: Committed}, head(Queued)},
			[]Effect{Load, Report, Hold, Park, Load, Place}},
		{"the time passed while no gateway ran", []Input{lapsed, {Kind: Committed}, head(Queued)},
			[]Effect{Load, Park, Load, Place}},
		{"a decision, or another message, is looked for in the store", []Input{heldBack(Queued), {Kind: Wake}, head(Queued)},
			[]Effect{Load, Report, Hold, Load, Place}},
		{"what is cancelled does not wait",
			[]Input{{Kind: Loaded, Head: Head{Stored: Queued, HeldBack: true, Cancelled: true}}}, []Effect{Load, FinishCancelled}},
		{"what runs is watched", []Input{heldBack(Accepted)}, []Effect{Load, Watch}},
		{"what may run is called", []Input{heldBack(Assigned)}, []Effect{Load, Run}},
		{"nothing waits, nothing is held back", []Input{heldBack(Nothing)}, []Effect{Load}},
		{"it is left where nothing is waited for", []Input{heldBack(Queued), {Kind: GiveUp}}, []Effect{Load, Report, Hold, Leave}},
		{"it is no worker's fault", []Input{heldBack(Queued), {Kind: Overdue}}, []Effect{Load, Report, Hold}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, effects := play(t, tt.after...); !slices.Equal(effects, tt.want) {
				t.Errorf("effects = %v, want %v", effects, tt.want)
			}
		})
	}
}
