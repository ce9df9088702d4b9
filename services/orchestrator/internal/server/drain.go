package server

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/turn"
)

// DrainWorker takes no new turns, or takes them again.
func (s *Server) DrainWorker(_ context.Context, r *orchestratorv1.DrainWorkerRequest) (*orchestratorv1.DrainWorkerResponse, error) {
	patience := s.o.Drain
	if asked := r.GetPatience(); asked != nil {
		if patience = asked.AsDuration(); asked.CheckValid() != nil || patience < 0 || patience > maxTimeout {
			return nil, invalid("patience", "must be between 0 and 7 days")
		}
	}
	var status turn.Status
	if r.GetUndo() {
		var err error
		if status, err = s.o.Manager.TakeAgain(); err != nil {
			return nil, failure(err)
		}
		patience = 0
	} else {
		status = s.o.Manager.StopTaking(patience)
	}
	return &orchestratorv1.DrainWorkerResponse{WorkerId: s.o.WorkerID, ProcessId: s.o.ProcessID, SlotsUsed: int32(status.Used),
		Patience: durationpb.New(patience)}, nil
}
