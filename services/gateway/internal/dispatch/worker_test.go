package dispatch

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/rpc"
)

// fakeWorker keeps the contract in memory, over a real connection, and breaks it
// where a test says so.
type fakeWorker struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	id, address string

	mu      sync.Mutex
	changed chan struct{}
	journal string
	slots   int32
	drains  bool
	turns   map[string]*fakeTurn
	log     []string // "run <turn>", "watch <turn> <after>", "start <turn>", "cancel <turn>", "ack <turn>"

	// script gives the events of a new turn; the last is finished.
	script func(*orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent
	// refuse makes a RunTurn fail, before (journaled false) or after the turn is
	// in the journal; nil: it does not.
	refuse func(*orchestratorv1.RunTurnRequest) (err error, journaled bool)
	// cut ends a stream before a message of it; nil: never.
	cut func(turn string, sequence uint64) error
	// skip leaves an event out of a stream.
	skip func(turn string, sequence uint64) bool
	// hold keeps a turn from going on before an event.
	hold func(turn string, sequence uint64) bool
	// ackErr makes AcknowledgeTurn fail.
	ackErr error
}

type fakeTurn struct {
	request   *orchestratorv1.RunTurnRequest
	events    []*orchestratorv1.TurnEvent
	cancelled bool
	acked     bool
}

func newWorker(t testing.TB, id string) *fakeWorker {
	t.Helper()
	w := idleWorker(id)
	w.serve(t)
	return w
}

// goneWorker has an address at which nobody listens.
func goneWorker(t testing.TB, id string) *fakeWorker {
	t.Helper()
	w := idleWorker(id)
	w.serve(t)()
	return w
}

func idleWorker(id string) *fakeWorker {
	return &fakeWorker{id: id, journal: "journal-" + id, slots: 8, turns: map[string]*fakeTurn{}, changed: make(chan struct{}),
		script: answering("hi")}
}

// serve serves on w.address, or on one that nobody else gets meanwhile where it has
// none yet, until the test ends or stop is called.
func (w *fakeWorker) serve(t testing.TB) (stop func()) {
	t.Helper()
	if w.address == "" {
		var err error
		if w.address, err = freeport.Addr(); err != nil {
			t.Fatal(err)
		}
	}
	lis, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	return w.serveOn(t, lis)
}

func (w *fakeWorker) serveOn(t testing.TB, lis net.Listener) (stop func()) {
	t.Helper()
	w.address = lis.Addr().String()
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	orchestratorv1.RegisterOrchestratorServiceServer(server, w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (w *fakeWorker) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *fakeWorker) count(line string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, l := range w.log {
		if l == line {
			n++
		}
	}
	return n
}

func (w *fakeWorker) request(turn string) *orchestratorv1.RunTurnRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turns[turn].request
}

// lines are the log's entries of one kind, in order.
func (w *fakeWorker) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

func (w *fakeWorker) WatchWorker(_ *orchestratorv1.WatchWorkerRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchWorkerResponse]) error {
	for {
		w.mu.Lock()
		changed := w.changed
		state := &orchestratorv1.WatchWorkerResponse{WorkerId: w.id, JournalId: w.journal, ProcessId: "1", SlotsTotal: w.slots, Draining: w.drains}
		w.mu.Unlock()
		if err := stream.Send(state); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-changed:
		}
	}
}

func (w *fakeWorker) RunTurn(in *orchestratorv1.RunTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.RunTurnResponse]) error {
	id := in.GetTurnId()
	var said error
	w.set(func() {
		w.log = append(w.log, "run "+id)
		turn, known := w.turns[id]
		if known && turn.request != nil && identity(turn.request) != identity(in) {
			said = refusal(diagnosticsv1.ErrorReason_ERROR_REASON_TURN_ID_REUSED)
			return
		}
		if known && proto.Equal(turn.request, in) || w.refuse == nil {
			if !known {
				w.start(in)
			}
			return
		}
		var journaled bool
		if said, journaled = w.refuse(in); (said == nil || journaled) && !known {
			w.start(in)
		}
	})
	if said != nil {
		return said
	}
	if in.GetExpectedJournalId() != "" && in.GetExpectedJournalId() != w.journal {
		return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH)
	}
	send := func(a *orchestratorv1.Accepted, e *orchestratorv1.TurnEvent) error {
		if a != nil {
			return stream.Send(&orchestratorv1.RunTurnResponse{Payload: &orchestratorv1.RunTurnResponse_Accepted{Accepted: a}})
		}
		return stream.Send(&orchestratorv1.RunTurnResponse{Payload: &orchestratorv1.RunTurnResponse_Event{Event: e}})
	}
	return w.stream(stream.Context(), id, in.GetAfterSequence(), send)
}

// identity is what makes two requests for a turn id the same turn.
func identity(in *orchestratorv1.RunTurnRequest) [4]string {
	return [4]string{in.GetSessionId(), in.GetThreadId(), in.GetPrompt(), in.GetWorkingDir()}
}

// start journals a turn; the caller holds mu.
func (w *fakeWorker) start(in *orchestratorv1.RunTurnRequest) {
	w.log = append(w.log, "start "+in.GetTurnId())
	turn := &fakeTurn{request: in}
	for i, e := range w.script(in) {
		e.TurnId, e.Sequence = in.GetTurnId(), uint64(i+1)
		turn.events = append(turn.events, e)
	}
	w.turns[in.GetTurnId()] = turn
}

func (w *fakeWorker) WatchTurn(in *orchestratorv1.WatchTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchTurnResponse]) error {
	id := in.GetTurnId()
	known := false
	w.set(func() {
		w.log = append(w.log, "watch "+id)
		known = w.turns[id] != nil
	})
	switch {
	case in.GetExpectedJournalId() != w.journal: // a gateway that attaches always knows where the turn was journaled
		return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH)
	case !known:
		return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN)
	}
	send := func(a *orchestratorv1.Accepted, e *orchestratorv1.TurnEvent) error {
		if a != nil {
			return stream.Send(&orchestratorv1.WatchTurnResponse{Payload: &orchestratorv1.WatchTurnResponse_Accepted{Accepted: a}})
		}
		return stream.Send(&orchestratorv1.WatchTurnResponse{Payload: &orchestratorv1.WatchTurnResponse_Event{Event: e}})
	}
	return w.stream(stream.Context(), id, in.GetAfterSequence(), send)
}

func (w *fakeWorker) stream(ctx context.Context, id string, after uint64, send func(*orchestratorv1.Accepted, *orchestratorv1.TurnEvent) error) error {
	if err := send(&orchestratorv1.Accepted{WorkerId: w.id, JournalId: w.journal}, nil); err != nil {
		return err
	}
	for sequence := after + 1; ; sequence++ {
		event, err := w.event(ctx, id, sequence)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if event == nil {
			continue // left out
		}
		if err := send(nil, event); err != nil || event.GetFinished() != nil {
			return err
		}
	}
}

// event waits for an event of a turn: nil when it is to be left out.
func (w *fakeWorker) event(ctx context.Context, id string, sequence uint64) (*orchestratorv1.TurnEvent, error) {
	for {
		w.mu.Lock()
		turn, changed := w.turns[id], w.changed
		held := w.hold != nil && w.hold(id, sequence) && !turn.cancelled
		if !held && w.cut != nil {
			if err := w.cut(id, sequence); err != nil {
				w.mu.Unlock()
				return nil, err
			}
		}
		skipped := !held && w.skip != nil && w.skip(id, sequence)
		cancelled := turn.cancelled
		w.mu.Unlock()
		switch {
		case held:
		case skipped:
			return nil, nil
		case cancelled:
			return &orchestratorv1.TurnEvent{TurnId: id, Sequence: sequence, Detail: finished(orchestratorv1.TurnState_TURN_STATE_CANCELLED,
				orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED)}, nil
		case sequence > uint64(len(turn.events)):
			return nil, io.EOF
		default:
			return proto.CloneOf(turn.events[sequence-1]), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (w *fakeWorker) CancelTurn(_ context.Context, in *orchestratorv1.CancelTurnRequest) (*orchestratorv1.CancelTurnResponse, error) {
	w.set(func() {
		w.log = append(w.log, "cancel "+in.GetTurnId())
		if w.turns[in.GetTurnId()] == nil {
			w.turns[in.GetTurnId()] = &fakeTurn{}
		}
		w.turns[in.GetTurnId()].cancelled = true
	})
	return &orchestratorv1.CancelTurnResponse{}, nil
}

func (w *fakeWorker) AcknowledgeTurn(_ context.Context, in *orchestratorv1.AcknowledgeTurnRequest) (*orchestratorv1.AcknowledgeTurnResponse, error) {
	var err error
	w.set(func() {
		w.log = append(w.log, "ack "+in.GetTurnId())
		if err = w.ackErr; err == nil && w.turns[in.GetTurnId()] != nil {
			w.turns[in.GetTurnId()].acked = true
		}
	})
	return &orchestratorv1.AcknowledgeTurnResponse{}, err
}

func refusal(reason diagnosticsv1.ErrorReason) error {
	return &rpc.Failure{Code: codes.FailedPrecondition, Reason: reason, Message: "said by the test"}
}

// lost is the end of a call that says nothing about its outcome.
func lost() error { return status.Error(codes.Unavailable, "connection reset by the test") }

const thread = "01a1ffd2-7c2a-7ba3-b974-221e2ce82709"

// answering is a turn that says each text, a message per item, in the parts
// given, and succeeds.
func answering(parts ...string) func(*orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
	return func(in *orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
		id := in.GetThreadId()
		if id == "" {
			id = thread
		}
		all := []*orchestratorv1.TurnEvent{
			{Detail: &orchestratorv1.TurnEvent_ThreadStarted{ThreadStarted: &orchestratorv1.ThreadStarted{ThreadId: id}}},
			spoken("item_0", "a remark before the answer", 1, 1),
		}
		for i, part := range parts {
			all = append(all, spoken("item_1", part, i+1, len(parts)))
		}
		usage := &orchestratorv1.Usage{InputTokens: 120, OutputTokens: 30}
		all = append(all, &orchestratorv1.TurnEvent{Detail: &orchestratorv1.TurnEvent_TurnCompleted{TurnCompleted: &orchestratorv1.TurnCompleted{Usage: usage}}})
		end := finished(orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, 0)
		end.Finished.AnswerItemId, end.Finished.AnswerSequence = "item_1", 3
		if len(parts) > 0 {
			end.Finished.FinalText = parts[0]
		}
		return append(all, &orchestratorv1.TurnEvent{Detail: end})
	}
}

// ending is a turn that only ends.
func ending(state orchestratorv1.TurnState, cause orchestratorv1.FinishCause) func(*orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
	return func(*orchestratorv1.RunTurnRequest) []*orchestratorv1.TurnEvent {
		return []*orchestratorv1.TurnEvent{{Detail: finished(state, cause)}}
	}
}

func finished(state orchestratorv1.TurnState, cause orchestratorv1.FinishCause) *orchestratorv1.TurnEvent_Finished {
	f := &orchestratorv1.Finished{State: state}
	if cause != 0 {
		f.ErrorDetail = &orchestratorv1.FinishedError{Cause: cause, Message: "what the worker says"}
	}
	return &orchestratorv1.TurnEvent_Finished{Finished: f}
}

func spoken(item, text string, part, parts int) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{
		Kind: orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT, Channel: "assistant", Text: text,
		Detail: &orchestratorv1.TurnEvent_ItemCompleted{ItemCompleted: &orchestratorv1.ItemCompleted{Item: &orchestratorv1.Item{Id: item,
			Kind: &orchestratorv1.Item_AgentMessage{AgentMessage: &orchestratorv1.AgentMessage{
				TextPart: &orchestratorv1.TextPart{Part: uint32(part), Parts: uint32(parts)}}}}}},
	}
}
