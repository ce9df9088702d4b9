package operator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/rpc"
)

// watched is a worker of which only WatchWorker works.
type watched struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	id string
}

func (w *watched) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchWorkerResponse]) error {
	if err := stream.Send(&orchestratorv1.WatchWorkerResponse{WorkerId: w.id, JournalId: "journal-" + w.id, SlotsTotal: 1}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// directory knows one worker, which it has reached.
func directory(t *testing.T, id string) *workers.Directory {
	t.Helper()
	lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	orchestratorv1.RegisterOrchestratorServiceServer(server, &watched{id: id})
	d, err := workers.New(workers.Config{Targets: []string{lis.Addr().String()}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done, d.Close()); err != nil {
			t.Error(err)
		}
	})
	for {
		changed := d.Changed()
		if _, ok := d.Find(id); ok {
			return d
		}
		<-changed
	}
}

func TestASessionIsMovedToAWorkerThatCanBeReached(t *testing.T) {
	s, ctx := openStore(t), t.Context()
	if _, err := s.Ingest(ctx, []store.NewUpdate{prompt(1, 42)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	turn := store.TurnID(7, store.Key{Generation: 1, UpdateID: 1}, 1)
	err := errors.Join(s.Assign(ctx, turn, "old", "j", ""), s.Accept(ctx, turn, "j"), s.SetThread(ctx, turn, "thread"))
	if err != nil {
		t.Fatal(err)
	}
	client := serve(t, working(Work{Store: s, Workers: directory(t, "new"), Move: s.MoveSession}))
	request := func(change func(*gatewayv1.MoveSessionRequest)) *gatewayv1.MoveSessionRequest {
		r := &gatewayv1.MoveSessionRequest{SessionId: "telegram:42", FromWorkerId: "old", WorkerId: "new", ThreadId: "thread", LastTurnId: turn}
		change(r)
		return r
	}
	refused := func(why string, code codes.Code, change func(*gatewayv1.MoveSessionRequest)) {
		t.Helper()
		if _, err := client.MoveSession(ctx, request(change)); status.Code(err) != code || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	refused("session_id", codes.InvalidArgument, func(r *gatewayv1.MoveSessionRequest) { r.SessionId = "" })
	refused("from_worker_id", codes.InvalidArgument, func(r *gatewayv1.MoveSessionRequest) { r.FromWorkerId = "" })
	refused("worker_id", codes.InvalidArgument, func(r *gatewayv1.MoveSessionRequest) { r.WorkerId = "" })
	refused("thread_id", codes.InvalidArgument, func(r *gatewayv1.MoveSessionRequest) { r.ThreadId = "" })
	refused("cannot be reached", codes.FailedPrecondition, func(r *gatewayv1.MoveSessionRequest) { r.WorkerId = "nowhere" })
	refused("running turn", codes.FailedPrecondition, func(*gatewayv1.MoveSessionRequest) {})
	if _, err := s.Finish(ctx, turn, store.Outcome{Name: "succeeded"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, applied := range []bool{true, false} {
		r, err := client.MoveSession(ctx, request(func(*gatewayv1.MoveSessionRequest) {}))
		if err != nil || r.GetWorkerId() != "new" || r.GetJournalId() != "journal-new" || r.GetApplied() != applied {
			t.Errorf("MoveSession() = %v, %v", r, err)
		}
	}
	page, err := client.ListSessions(ctx, &gatewayv1.ListSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if x := page.GetSessions()[0]; x.GetWorkerId() != "new" || x.GetMovedFromWorkerId() != "old" || x.GetMovedReason() != store.Moved || x.GetMovedAt() == nil {
		t.Errorf("session = %v", x)
	}
	refused("echo mode", codes.FailedPrecondition, func(*gatewayv1.MoveSessionRequest) {
		client = serve(t, working(Work{Store: s}))
	})
}
