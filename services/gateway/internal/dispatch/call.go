package dispatch

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/rpc"
)

// Extension keys of RunTurnRequest.
const (
	sandboxKey = "backend.codex.exec.sandbox_mode"
	modelKey   = "backend.codex.exec.model"
)

// call is one open RunTurn or WatchTurn. A goroutine reads the stream into a
// small channel: when the lane is busy with a commit the worker feels it, and
// nothing is dropped.
type call struct {
	cancel context.CancelFunc
	items  chan item
}

// item is one message of a stream, or its end.
type item struct {
	accepted *orchestratorv1.Accepted
	event    *orchestratorv1.TurnEvent
	err      error
}

// streamed is what the messages of both streams have.
type streamed interface {
	GetAccepted() *orchestratorv1.Accepted
	GetEvent() *orchestratorv1.TurnEvent
}

// open starts a call and reads it until it ends or is closed.
func open[M streamed](ctx context.Context, start func(context.Context) (interface{ Recv() (M, error) }, error)) *call {
	ctx, cancel := context.WithCancel(ctx)
	c := &call{cancel: cancel, items: make(chan item, 16)}
	go func() {
		defer close(c.items)
		stream, err := start(ctx)
		for err == nil {
			var m M
			if m, err = stream.Recv(); err == nil && !c.put(ctx, item{accepted: m.GetAccepted(), event: m.GetEvent()}) {
				return
			}
		}
		c.put(ctx, item{err: err})
	}()
	return c
}

func (c *call) put(ctx context.Context, i item) bool {
	select {
	case c.items <- i:
		return true
	case <-ctx.Done():
		return false
	}
}

// close ends the call, which never stops the turn, and waits for its goroutine.
func (c *call) close() {
	c.cancel()
	for range c.items { // until its goroutine has closed it
	}
}

func runTurn(ctx context.Context, client workers.Client, t store.Turn, with Turn) *call {
	return open(ctx, func(ctx context.Context) (interface {
		Recv() (*orchestratorv1.RunTurnResponse, error)
	}, error) {
		return client.RunTurn(ctx, runRequest(t, with))
	})
}

// runRequest is the same for the same turn in all that the worker compares,
// however often it is sent and whatever was configured anew.
func runRequest(t store.Turn, with Turn) *orchestratorv1.RunTurnRequest {
	extensions := map[string]*structpb.Value{}
	if with.Sandbox != "" {
		extensions[sandboxKey] = structpb.NewStringValue(with.Sandbox)
	}
	if with.Model != "" {
		extensions[modelKey] = structpb.NewStringValue(with.Model)
	}
	return &orchestratorv1.RunTurnRequest{
		TurnId: t.ID, SessionId: t.SessionID, ThreadId: t.ThreadID, Prompt: t.Prompt, ExpectedJournalId: t.JournalID,
		Timeout: durationpb.New(with.Timeout), WorkingDir: t.WorkingDir, Extensions: extensions,
	}
}

func watchTurn(ctx context.Context, client workers.Client, t store.Turn, after uint64) *call {
	return open(ctx, func(ctx context.Context) (interface {
		Recv() (*orchestratorv1.WatchTurnResponse, error)
	}, error) {
		return client.WatchTurn(ctx, &orchestratorv1.WatchTurnRequest{TurnId: t.ID, AfterSequence: after, ExpectedJournalId: t.JournalID})
	})
}

// actionOf is what the end of a call means, by the action that the contract
// declares for its reason. A stream that ends without a finished event says as
// little as one that breaks.
func actionOf(err error) lane.Action {
	if errors.Is(err, io.EOF) {
		return lane.Unknown
	}
	switch rpc.ActionOf(rpc.ReasonOf(err)) {
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_FAIL_TURN:
		return lane.Fail
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_ALARM:
		return lane.Alarm
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_WAIT:
		return lane.Wait
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_WAIT_OR_PLACE_ELSEWHERE:
		return lane.WaitOrPlace
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_INTERRUPT_AND_UNPIN:
		return lane.InterruptAndUnpin
	case diagnosticsv1.GatewayAction_GATEWAY_ACTION_RUN_OR_INTERRUPT:
		return lane.RunOrInterrupt
	}
	return lane.Unknown
}

// neverRuns says of a RunTurn that failed without a reason that no worker has
// journaled it: the method, or what was sent, is not of that worker's contract.
func neverRuns(err error) bool {
	code := status.Code(err)
	return code == codes.Unimplemented || code == codes.InvalidArgument
}
