package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/tracing"
)

// heartbeat is how often WatchWorker speaks when nothing changes.
const heartbeat = 10 * time.Second

// changesEvery is how often WatchWorker speaks at most: of what changes faster, with
// many short turns, only how it ends up is of use.
const changesEvery = 10 * time.Millisecond

// RunTurn starts a turn or attaches to it, and streams its events.
func (s *Server) RunTurn(r *orchestratorv1.RunTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.RunTurnResponse]) error {
	ctx := stream.Context()
	if err := checkIdentity(r); err != nil {
		return err
	}
	if err := s.checkJournal(r.GetExpectedJournalId()); err != nil {
		return err
	}
	attached, err := s.begin(ctx, r)
	if err != nil {
		return err
	}
	accepted := &orchestratorv1.RunTurnResponse{Payload: &orchestratorv1.RunTurnResponse_Accepted{Accepted: s.accepted(attached)}}
	payload := &orchestratorv1.RunTurnResponse_Event{}
	response := &orchestratorv1.RunTurnResponse{Payload: payload}
	return relay(s, stream, r.GetTurnId(), r.GetAfterSequence(), accepted, func(event *orchestratorv1.TurnEvent) *orchestratorv1.RunTurnResponse {
		payload.Event = event
		return response
	})
}

// begin starts a turn or attaches to it. A turn that the caller has asked for before
// goes on, whatever has become since of its directory, of the worker's settings or
// of its slots: so what is refused is looked up, and only that, since most turns
// are new.
func (s *Server) begin(ctx context.Context, r *orchestratorv1.RunTurnRequest) (attached bool, err error) {
	spec, refused := s.spec(r)
	if refused == nil {
		spec.Trace = s.o.Trace.Incoming(ctx)
		if attached, err = s.o.Manager.Start(ctx, spec); err == nil {
			return attached, nil
		}
		refused = failure(err)
	}
	known, err := s.o.Manager.Known(ctx, identity(r))
	switch {
	case err != nil:
		return false, failure(err)
	case !known:
		return false, refused
	}
	return true, nil
}

// WatchTurn attaches to a turn.
func (s *Server) WatchTurn(r *orchestratorv1.WatchTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchTurnResponse]) error {
	if err := checkTurnID(r.GetTurnId()); err != nil {
		return err
	}
	if err := s.checkJournal(r.GetExpectedJournalId()); err != nil {
		return err
	}
	accepted := &orchestratorv1.WatchTurnResponse{Payload: &orchestratorv1.WatchTurnResponse_Accepted{Accepted: s.accepted(true)}}
	payload := &orchestratorv1.WatchTurnResponse_Event{}
	response := &orchestratorv1.WatchTurnResponse{Payload: payload}
	return relay(s, stream, r.GetTurnId(), r.GetAfterSequence(), accepted, func(event *orchestratorv1.TurnEvent) *orchestratorv1.WatchTurnResponse {
		payload.Event = event
		return response
	})
}

func (s *Server) accepted(attached bool) *orchestratorv1.Accepted {
	return &orchestratorv1.Accepted{WorkerId: s.o.WorkerID, JournalId: s.o.Journal.ID(), Attached: attached}
}

// relay sends headers, the first message, and every event to the finished one.
// wrap may return the same message each time: Send has encoded it when it
// returns.
func relay[M any](s *Server, stream grpc.ServerStreamingServer[M], turnID string, after uint64, first *M, wrap func(*orchestratorv1.TurnEvent) *M) error {
	ctx, opened, sent := stream.Context(), time.Now(), uint64(0)
	defer s.o.Meter.Opened()()
	defer func() {
		s.o.Trace.Record(tracing.Span{Name: "relay", Parent: s.o.Trace.Incoming(ctx), Start: opened, End: time.Now(),
			Attributes: tracing.Attributes{tracing.InTurn(turnID), tracing.Events(sent)}})
	}()
	events, err := s.o.Manager.Follow(ctx, turnID, after)
	if err != nil {
		return failure(err)
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	if err := stream.Send(first); err != nil {
		return err
	}
	for batch, err := range events {
		if err != nil {
			return failure(err)
		}
		for _, event := range batch {
			if err := stream.Send(wrap(event)); err != nil {
				return err
			}
		}
		sent += uint64(len(batch))
		s.o.Meter.Sent(len(batch), live(batch[0], opened))
	}
	return nil
}

// live is when an event was made, zero for one that was there before the stream:
// that it comes late is no delay.
func live(event *orchestratorv1.TurnEvent, opened time.Time) time.Time {
	if at := event.GetOccurredAt().AsTime(); !at.Before(opened) {
		return at
	}
	return time.Time{}
}

// WatchWorker streams how busy the worker is: at once, when it changes, and as a
// heartbeat. It ends with the worker.
func (s *Server) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchWorkerResponse]) error {
	return s.watchWorker(stream.Context(), stream.Send)
}

func (s *Server) watchWorker(ctx context.Context, send func(*orchestratorv1.WatchWorkerResponse) error) error {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	pause := time.NewTimer(changesEvery)
	defer pause.Stop()
	for {
		status := s.o.Manager.Status()
		err := send(&orchestratorv1.WatchWorkerResponse{
			WorkerId:   s.o.WorkerID,
			JournalId:  s.o.Journal.ID(),
			SlotsTotal: int32(status.Total),
			SlotsUsed:  int32(status.Used),
			Draining:   status.Draining,
			ProcessId:  s.o.ProcessID,
			StartCount: int32(s.o.Starts),
		})
		if err != nil || status.Closing && status.Used == 0 {
			return err
		}
		pause.Reset(changesEvery)
		ticker.Reset(heartbeat)
		select {
		case <-ctx.Done():
			return failure(ctx.Err())
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return failure(ctx.Err())
		case <-status.Changed:
		case <-ticker.C:
		}
	}
}
