package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

const (
	// patience bounds every wait of a test.
	patience = 60 * time.Second
	// maxText and maxMessage are bounds of the envelope.
	maxText    = 64 << 10
	maxMessage = 4096
)

// follow is an open stream of a turn.
type follow struct {
	t        *testing.T
	turnID   string
	after    uint64
	accepted *orchestratorv1.Accepted
	events   []*orchestratorv1.TurnEvent
	recv     func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error)
	close    context.CancelFunc
}

// run opens a RunTurn stream and reads its first message. Whatever becomes of
// the test, the turn is stopped at its end.
func (w *target) run(t *testing.T, request *orchestratorv1.RunTurnRequest) *follow {
	t.Helper()
	f, err := w.tryRun(t, request)
	if err != nil {
		t.Fatalf("RunTurn: %v", err)
	}
	return f
}

func (w *target) tryRun(t *testing.T, request *orchestratorv1.RunTurnRequest) (*follow, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	stream, err := w.client.RunTurn(ctx, request)
	if err != nil {
		cancel()
		return nil, err
	}
	f := &follow{t: t, turnID: request.GetTurnId(), after: request.GetAfterSequence(), close: cancel,
		recv: func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error) {
			message, err := stream.Recv()
			return message.GetAccepted(), message.GetEvent(), err
		}}
	if err := f.open(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { w.settle(t, request.GetTurnId()) })
	return f, nil
}

// watch opens a WatchTurn stream and reads its first message.
func (w *target) watch(t *testing.T, turnID string, after uint64) *follow {
	t.Helper()
	f, err := w.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: turnID, AfterSequence: after})
	if err != nil {
		t.Fatalf("WatchTurn: %v", err)
	}
	if !f.accepted.GetAttached() {
		t.Error("WatchTurn: accepted does not say attached")
	}
	return f
}

func (w *target) tryWatch(t *testing.T, request *orchestratorv1.WatchTurnRequest) (*follow, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	stream, err := w.client.WatchTurn(ctx, request)
	if err != nil {
		cancel()
		return nil, err
	}
	f := &follow{t: t, turnID: request.GetTurnId(), after: request.GetAfterSequence(), close: cancel,
		recv: func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error) {
			message, err := stream.Recv()
			return message.GetAccepted(), message.GetEvent(), err
		}}
	return f, f.open()
}

// open reads the first message, which must be accepted.
func (f *follow) open() error {
	f.t.Helper()
	f.t.Cleanup(f.close)
	accepted, _, err := f.recv()
	if err != nil {
		f.close()
		return err
	}
	if accepted == nil {
		f.t.Fatal("the first message is not accepted")
	}
	f.accepted = accepted
	return nil
}

// next reads one event, nil at the end of the stream.
func (f *follow) next() *orchestratorv1.TurnEvent {
	f.t.Helper()
	accepted, event, err := f.recv()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		f.t.Fatalf("stream of %s after %d events: %v", f.turnID, len(f.events), err)
	case accepted != nil || event == nil:
		f.t.Fatalf("stream of %s: a message after the first is no event", f.turnID)
	}
	f.check(event)
	f.events = append(f.events, event)
	return event
}

// rest reads the stream to its end, and checks that the turn ended in it, once
// and at the very end.
func (f *follow) rest() []*orchestratorv1.TurnEvent {
	f.t.Helper()
	for f.next() != nil {
	}
	if n := len(f.events); n == 0 || f.events[n-1].GetFinished() == nil {
		f.t.Errorf("stream of %s ended without finished after %d events", f.turnID, n)
	}
	return f.events
}

// finished reads the stream to its end and returns its last event's detail.
func (f *follow) finished() *orchestratorv1.Finished {
	f.t.Helper()
	events := f.rest()
	if len(events) == 0 {
		f.t.FailNow()
	}
	return events[len(events)-1].GetFinished()
}

// check holds one event to what is true of every event.
func (f *follow) check(e *orchestratorv1.TurnEvent) {
	f.t.Helper()
	wrong := func(format string, args ...any) {
		f.t.Helper()
		f.t.Errorf("event %d of %s: %s", e.GetSequence(), f.turnID, fmt.Sprintf(format, args...))
	}
	if e.GetTurnId() != f.turnID {
		wrong("turn_id %q", e.GetTurnId())
	}
	if want := f.after + uint64(len(f.events)) + 1; e.GetSequence() != want {
		wrong("want sequence %d", want)
	}
	if n := len(f.events); n > 0 && f.events[n-1].GetFinished() != nil {
		wrong("it comes after finished")
	}
	if e.GetOccurredAt().AsTime().Before(time.Unix(1, 0)) {
		wrong("occurred_at is missing")
	}
	if e.GetKind() == orchestratorv1.EventKind_EVENT_KIND_UNSPECIFIED || e.GetDetail() == nil {
		wrong("kind %v, detail %T", e.GetKind(), e.GetDetail())
	}
	if len(e.GetText()) > maxText || len(e.GetMessage()) > maxMessage || len(e.GetChannel()) > 128 {
		wrong("text of %d bytes, message of %d, channel of %d", len(e.GetText()), len(e.GetMessage()), len(e.GetChannel()))
	}
	if !utf8.ValidString(e.GetText()) || !utf8.ValidString(e.GetMessage()) {
		wrong("invalid UTF-8")
	}
}

func terminal(state orchestratorv1.TurnState) bool {
	return state >= orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
}

// equalEvents compares two replays.
func equalEvents(t *testing.T, what string, want, got []*orchestratorv1.TurnEvent) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: %d events, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if !proto.Equal(want[i], got[i]) {
			t.Errorf("%s: event %d is %v, want %v", what, want[i].GetSequence(), got[i], want[i])
		}
	}
}
