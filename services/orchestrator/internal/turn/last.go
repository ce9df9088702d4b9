package turn

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

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
