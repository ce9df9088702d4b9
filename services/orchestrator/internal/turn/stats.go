package turn

import (
	"sync/atomic"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Stats counts what a manager did since it was made.
type Stats struct {
	events  atomic.Uint64
	unknown atomic.Uint64
	errors  atomic.Uint64
	ended   [orchestratorv1.TurnState_TURN_STATE_INTERRUPTED + 1]atomic.Uint64
}

// Stats returns the manager's counters, which go on counting.
func (m *Manager) Stats() *Stats { return &m.stats }

// Events is how many events Codex's output came to.
func (s *Stats) Events() uint64 { return s.events.Load() }

// Unknown is how many of them were of a type this worker does not know.
func (s *Stats) Unknown() uint64 { return s.unknown.Load() }

// LineErrors is how many lines were no events.
func (s *Stats) LineErrors() uint64 { return s.errors.Load() }

// Ended is how many turns ended in a state.
func (s *Stats) Ended(state orchestratorv1.TurnState) uint64 {
	if state < 0 || int(state) >= len(s.ended) {
		return 0
	}
	return s.ended[state].Load()
}

func (s *Stats) observe(event *orchestratorv1.TurnEvent) {
	s.events.Add(1)
	if event.GetKind() == orchestratorv1.EventKind_EVENT_KIND_UNKNOWN {
		s.unknown.Add(1)
	}
	if event.GetLineError() != nil {
		s.errors.Add(1)
	}
}

func (s *Stats) end(state orchestratorv1.TurnState) { s.ended[state].Add(1) }

// finishedEvent makes a turn's last event; it has no place in a turn yet.
func finishedEvent(finished *orchestratorv1.Finished) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{
		Kind:    orchestratorv1.EventKind_EVENT_KIND_STATUS,
		Channel: "status",
		Message: finished.GetErrorDetail().GetMessage(),
		Detail:  &orchestratorv1.TurnEvent_Finished{Finished: finished},
	}
}

// tombstoneEvent is the one event of a turn that was cancelled before it was
// asked to run.
func tombstoneEvent(turnID string) *orchestratorv1.TurnEvent {
	event := finishedEvent(newOutcome("").finish(ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED}))
	event.TurnId, event.Sequence, event.OccurredAt = turnID, 1, timestamppb.Now()
	return event
}
