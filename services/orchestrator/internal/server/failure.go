package server

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/turn"
)

// retryFull is when a caller may ask again for a slot.
const retryFull = time.Second

var errJournalMismatch = &rpc.Failure{
	Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH, Field: "expected_journal_id",
	Message: "expected_journal_id is not this worker's journal: its disk was replaced",
}

// invalid is a field out of its bounds. The message must not quote its value.
func invalid(field, problem string) *rpc.Failure { return invalidText(field, field+" "+problem) }

// invalidText is the same in the words of a package below, which name the field.
func invalidText(field, message string) *rpc.Failure {
	return &rpc.Failure{Code: codes.InvalidArgument, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
		Field: field, Message: message}
}

// failure turns an error of the packages below into what the caller acts on. One
// without a reason leaves the outcome of the call open, and is safe to answer by
// watching the turn.
func failure(err error) error {
	var policy *codex.PolicyError
	var env *codex.EnvError
	var dir *DirError
	var disk *sqldb.Error
	switch {
	case errors.As(err, &policy):
		return policyFailure(policy)
	case errors.As(err, &env):
		return invalidText("env", env.Error())
	case errors.As(err, &dir):
		return invalid("working_dir", dir.Problem)
	case errors.As(err, &disk):
		return diskFailure(disk)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the caller's deadline passed")
	case errors.Is(err, journal.ErrClosed):
		return status.Error(codes.Unavailable, "the worker is shutting down")
	}
	for known, f := range map[error]rpc.Failure{
		journal.ErrUnknown: {Code: codes.NotFound, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN,
			Message: "turn_id is not in this worker's journal"},
		journal.ErrUnfinished: {Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			Message: "turn_id has not ended"},
		turn.ErrReused: {Code: codes.AlreadyExists, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_TURN_ID_REUSED,
			Message: "turn_id was used with another input"},
	} {
		if errors.Is(err, known) {
			f.Field = "turn_id"
			return &f
		}
	}
	switch {
	case errors.Is(err, turn.ErrSessionBusy):
		return &rpc.Failure{Code: codes.Aborted, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_SESSION_BUSY, Message: err.Error()}
	case errors.Is(err, turn.ErrFull):
		return &rpc.Failure{Code: codes.ResourceExhausted, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL,
			Message: err.Error(), RetryAfter: retryFull}
	case errors.Is(err, turn.ErrDraining):
		return &rpc.Failure{Code: codes.Unavailable, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_DRAINING, Message: err.Error()}
	}
	return status.Error(codes.Internal, "internal error")
}

func policyFailure(err *codex.PolicyError) error {
	f := invalidText(err.Field, err.Error())
	if err.Reason == codex.UnsupportedKey {
		f.Reason = diagnosticsv1.ErrorReason_ERROR_REASON_UNSUPPORTED_CAPABILITY
	}
	return f
}

func diskFailure(err *sqldb.Error) error {
	switch err.Kind {
	case sqldb.Full, sqldb.ReadOnly, sqldb.IO:
		return &rpc.Failure{Code: codes.ResourceExhausted, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_UNAVAILABLE,
			Message: "the worker's disk refused a write", RetryAfter: retryFull}
	}
	return status.Error(codes.Internal, "the worker's journal failed")
}
