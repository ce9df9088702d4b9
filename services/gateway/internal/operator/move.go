package operator

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/rpc"
)

// MoveSession lets another worker have a session.
func (s *Service) MoveSession(ctx context.Context, in *gatewayv1.MoveSessionRequest) (*gatewayv1.MoveSessionResponse, error) {
	for _, field := range []struct{ name, value string }{{"session_id", in.GetSessionId()}, {"from_worker_id", in.GetFromWorkerId()},
		{"worker_id", in.GetWorkerId()}, {"thread_id", in.GetThreadId()}} {
		if field.value == "" {
			return nil, invalid(field.name, field.name+" must not be empty")
		}
	}
	work, err := s.work()
	if err != nil {
		return nil, err
	}
	if work.Workers == nil {
		return nil, &rpc.Failure{Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			Message: "this gateway has no workers: it runs in echo mode"}
	}
	to, reachable := work.Workers.Find(in.GetWorkerId())
	if !reachable {
		return nil, &rpc.Failure{Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, Field: "worker_id",
			Message: fmt.Sprintf("worker %q cannot be reached: nothing was changed", in.GetWorkerId())}
	}
	applied, err := work.Move(ctx, store.Move{SessionID: in.GetSessionId(), From: in.GetFromWorkerId(), To: to.ID, ToJournal: to.JournalID,
		ThreadID: in.GetThreadId(), LastTurnID: in.GetLastTurnId()})
	if refused := (*store.StateError)(nil); errors.As(err, &refused) {
		return nil, &rpc.Failure{Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			Message: refused.Error() + ": nothing was changed"}
	}
	if err != nil {
		return nil, failure(err)
	}
	return &gatewayv1.MoveSessionResponse{WorkerId: to.ID, JournalId: to.JournalID, Applied: applied}, nil
}
