package turn

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// briefly is a context that ends once it was looked at.
type briefly struct {
	context.Context
	looked bool
}

func (b *briefly) Err() error {
	if !b.looked {
		b.looked = true
		return nil
	}
	return context.Canceled
}

// Events are dropped from the first on, in several transactions: who looks between
// two of them must not take the rest for all of them.
func TestATurnThatIsHalfDroppedHasItsEndAlone(t *testing.T) {
	t.Parallel()
	log, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	_, writer, err := log.Accept(journal.NewTurn{TurnID: "turn", SessionID: "telegram:1", Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	const last = 40
	result := make(chan error)
	for sequence := uint64(1); sequence <= last; sequence++ {
		event, update := &orchestratorv1.TurnEvent{TurnId: "turn", Sequence: sequence}, journal.Update{}
		if sequence == last {
			event.Detail = &orchestratorv1.TurnEvent_Finished{Finished: &orchestratorv1.Finished{}}
			update = journal.Update{State: orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, Finished: event, FinishedAt: time.Now()}
		}
		// Each in a transaction, and so a row, of its own.
		if err := writer.Append([]*orchestratorv1.TurnEvent{event}, update, func(err error) { result <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Acknowledge("turn", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := log.Prune(&briefly{Context: t.Context()}, time.Now(), 10); err != nil {
		t.Fatal(err)
	}
	if left, err := log.Events(t.Context(), 1, 0); err != nil || len(left) == 0 || left[0].GetSequence() == 1 {
		t.Fatalf("the turn is not half dropped: %v, %v", left, err)
	}
	m := NewManager(Options{Journal: log, Slots: 1, Log: zap.NewNop()})
	events, err := m.Follow(t.Context(), "turn", 0)
	if err != nil {
		t.Fatal(err)
	}
	var seen []uint64
	for batch, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range batch {
			seen = append(seen, event.GetSequence())
		}
	}
	if !slices.Equal(seen, []uint64{last}) {
		t.Errorf("its follower got %v", seen)
	}
}
