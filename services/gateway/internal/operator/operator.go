// Package operator is the gateway's own gRPC service, gateway.v1: what an
// operator asks with grpcurl, and what a program needs to follow cycles and to
// decide about interrupted turns. It shows ids and states, never what people
// wrote.
package operator

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/rpc"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// Config is what the service shows.
type Config struct {
	Mode   string // "codex" or "default"
	Cycles *Cycles
	// PollNow asks the poller for a poll at once, or as soon as there is one.
	PollNow func()
	// Work is what the gateway works with; nil until Telegram has said who the bot
	// is.
	Work func() *Work
	// Standby says that another gateway serves the bot; nil: never.
	Standby func() bool
}

// Work is what there is once the bot is known.
type Work struct {
	Store   *store.Store
	Workers *workers.Directory // nil: none are dialed
	// LastPoll is when a poll last succeeded; zero: never.
	LastPoll func() time.Time
	// Resolve decides about an interrupted turn.
	Resolve func(ctx context.Context, turnID, choice string) (store.Resolved, error)
	// Move lets another worker have a session.
	Move func(context.Context, store.Move) (bool, error)
}

// Service implements gateway.v1.
type Service struct {
	gatewayv1.UnimplementedGatewayServiceServer
	config Config
}

// New returns the service.
func New(config Config) *Service { return &Service{config: config} }

func (s *Service) standby() bool { return s.config.Standby != nil && s.config.Standby() }

// work is what there is to work with, or why there is nothing yet.
func (s *Service) work() (*Work, error) {
	if w := s.config.Work(); w != nil {
		return w, nil
	}
	why := "the gateway does not know its bot yet: Telegram has not answered"
	if s.standby() {
		why = "this gateway stands by: ask the one that serves the bot"
	}
	return nil, &rpc.Failure{Code: codes.Unavailable, Message: why}
}

// GetStatus says how the gateway is, also before it knows its bot.
func (s *Service) GetStatus(ctx context.Context, _ *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	r := &gatewayv1.GetStatusResponse{OrchestratorMode: s.config.Mode, Standby: s.standby()}
	work := s.config.Work()
	if work == nil {
		return r, nil
	}
	stats, err := work.Store.Stats(ctx)
	if err != nil {
		return nil, failure(err)
	}
	bot := work.Store.Bot()
	r.BotId, r.BotUsername, r.Cursor, r.LastPollAt = bot.ID, bot.Username, stats.Cursor.NextOffset, timestamp(work.LastPoll())
	r.QueuedCount, r.RunningCount = int32(stats.Queued), int32(stats.Running)
	r.InterruptedCount, r.OutboxCount = int32(stats.Interrupted), int32(stats.Outbox)
	if work.Workers != nil {
		for _, w := range work.Workers.Workers() {
			r.Workers = append(r.Workers, &gatewayv1.WorkerStatus{Address: w.Address, WorkerId: w.ID, JournalId: w.JournalID,
				Reachable: w.Reachable, SlotsTotal: int32(w.SlotsTotal), SlotsUsed: int32(w.SlotsUsed), Draining: w.Draining,
				RestartCount: int32(w.Restarts), UnreachableSince: timestamp(w.AwaySince), Problem: w.Trouble.String()})
		}
	}
	return r, nil
}

// ListSessions pages through the sessions. A page token is the last session id
// of the page before.
func (s *Service) ListSessions(ctx context.Context, in *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	size := int(in.GetPageSize())
	after, err := base64.RawURLEncoding.DecodeString(in.GetPageToken())
	switch {
	case size < 0:
		return nil, invalid("page_size", "page_size must not be negative")
	case err != nil:
		return nil, invalid("page_token", "page_token is none that this service has given")
	case size == 0:
		size = defaultPage
	}
	size = min(size, maxPage)
	work, err := s.work()
	if err != nil {
		return nil, err
	}
	// One more than asked for shows whether there is another page.
	sessions, err := work.Store.ListSessions(ctx, size+1, string(after))
	if err != nil {
		return nil, failure(err)
	}
	r := &gatewayv1.ListSessionsResponse{}
	if len(sessions) > size {
		sessions = sessions[:size]
		r.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(sessions[size-1].ID))
	}
	for _, x := range sessions {
		r.Sessions = append(r.Sessions, &gatewayv1.Session{SessionId: x.ID, ChatId: x.ChatID, TopicId: x.TopicID, ThreadId: x.ThreadID,
			WorkerId: x.WorkerID, OpenTurns: int32(x.OpenTurns), UpdatedAt: timestamp(x.UpdatedAt), MovedFromWorkerId: x.MovedFrom,
			MovedReason: x.MovedReason, MovedAt: timestamp(x.MovedAt)})
	}
	return r, nil
}

// GetUpdateTrace follows one update through inbox, turns and outbox.
func (s *Service) GetUpdateTrace(ctx context.Context, in *gatewayv1.GetUpdateTraceRequest) (*gatewayv1.GetUpdateTraceResponse, error) {
	if in.GetGeneration() < 0 {
		return nil, invalid("generation", "generation must not be negative")
	}
	work, err := s.work()
	if err != nil {
		return nil, err
	}
	trace, err := work.Store.Trace(ctx, in.GetUpdateId(), in.GetGeneration())
	if unknown := (*store.StateError)(nil); errors.As(err, &unknown) && unknown.Have == "" {
		// No reason: the closed list has one for turns alone.
		return nil, &rpc.Failure{Code: codes.NotFound, Message: unknown.Error()}
	}
	if err != nil {
		return nil, failure(err)
	}
	u := trace.Update
	r := &gatewayv1.GetUpdateTraceResponse{UpdateId: u.UpdateID, Generation: u.Generation, State: string(u.State), DropReason: u.Reason,
		SessionId: u.SessionID, ReceivedAt: timestamp(u.ReceivedAt)}
	for _, t := range trace.Turns {
		r.Turns = append(r.Turns, &gatewayv1.TurnTrace{TurnId: t.ID, State: string(t.State), WorkerId: t.WorkerID, ThreadId: t.ThreadID,
			Outcome: t.Outcome, ErrorCode: t.ErrorCode})
	}
	for _, o := range trace.Outbox {
		r.Outbox = append(r.Outbox, &gatewayv1.OutboxTrace{OutboxId: o.ID, Kind: o.Kind, State: string(o.State), Attempts: int32(o.Attempts),
			MessageId: o.SentMessageID, InDoubt: o.Doubts > 0, Doubts: int32(o.Doubts)})
	}
	return r, nil
}

// ResolveTurn decides about an interrupted turn. The first answer wins.
func (s *Service) ResolveTurn(ctx context.Context, in *gatewayv1.ResolveTurnRequest) (*gatewayv1.ResolveTurnResponse, error) {
	choice, ok := choices()[in.GetResolution()]
	switch {
	case !ok:
		return nil, invalid("resolution", "resolution must be RESOLUTION_RESUME, RESOLUTION_RUN_AGAIN or RESOLUTION_DROP")
	case in.GetTurnId() == "":
		return nil, invalid("turn_id", "turn_id must not be empty")
	}
	work, err := s.work()
	if err != nil {
		return nil, err
	}
	resolved, err := work.Resolve(ctx, in.GetTurnId(), choice)
	if err != nil {
		return nil, failure(err)
	}
	r := &gatewayv1.ResolveTurnResponse{Applied: resolved.Applied}
	for resolution, name := range choices() {
		if name == resolved.Choice {
			r.Resolution = resolution
		}
	}
	if resolved.Next != nil {
		r.NextTurnId = resolved.Next.ID
	}
	return r, nil
}

func choices() map[gatewayv1.Resolution]string {
	return map[gatewayv1.Resolution]string{
		gatewayv1.Resolution_RESOLUTION_RESUME:    store.Resume,
		gatewayv1.Resolution_RESOLUTION_RUN_AGAIN: store.Again,
		gatewayv1.Resolution_RESOLUTION_DROP:      store.Drop,
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func invalid(field, message string) error {
	return &rpc.Failure{Code: codes.InvalidArgument, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, Field: field, Message: message}
}

// failure turns an error of the store into a status.
func failure(err error) error {
	var state *store.StateError
	switch {
	case errors.As(err, &state) && state.Have == "":
		return &rpc.Failure{Code: codes.NotFound, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN, Message: state.Error()}
	case errors.As(err, &state):
		return &rpc.Failure{Code: codes.FailedPrecondition, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, Message: state.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &rpc.Failure{Code: codes.Canceled, Message: "the call was cancelled"}
	}
	return &rpc.Failure{Code: codes.Internal, Message: fmt.Sprintf("the store failed: %v", err)}
}
