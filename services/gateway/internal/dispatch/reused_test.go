package dispatch

import (
	"testing"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
)

// Whoever has asked for the turn whose id this gateway would use still needs its
// events: the worker is not told to drop them.
func TestATurnOfSomebodyElseIsNeverAcknowledged(t *testing.T) {
	t.Parallel()
	refused := func(*orchestratorv1.RunTurnRequest) (error, bool) {
		return refusal(diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST), false
	}
	for name, tt := range map[string]struct {
		others  int // attempts whose ids the worker knows as another's
		refuse  func(*orchestratorv1.RunTurnRequest) (error, bool)
		outcome string
		attempt int
	}{
		"it is run under the next id":              {others: 1, outcome: succeeded, attempt: 2},
		"there is no id left":                      {others: maxAttempts, outcome: failed, attempt: maxAttempts},
		"it is refused before its id is looked at": {refuse: refused, outcome: failed, attempt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newWorker(t, "a")
			w := newWorld(t, f)
			others := map[string]bool{}
			f.set(func() {
				for attempt := range tt.others {
					id := store.TurnID(7, store.Key{Generation: 1, UpdateID: w.nextID + 1}, attempt+1)
					others[id] = true
					f.start(&orchestratorv1.RunTurnRequest{TurnId: id, Prompt: "somebody else's"})
				}
				f.refuse = tt.refuse
			})
			w.run()
			update := w.prompt("mine")
			turn := w.settled(update)
			equal(t, "outcome", turn.Outcome, tt.outcome)
			equal(t, "attempt", turn.Attempt, tt.attempt)
			w.restart() // and whatever the store still wants to be acknowledged is
			w.eventually("nothing waits to be acknowledged", func() bool {
				left, err := w.store.Unacknowledged(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return len(left) == 0
			})
			for attempt := range tt.attempt {
				id := w.turnID(update, attempt+1)
				if want := attempt+1 == tt.attempt && tt.outcome == succeeded; (f.count("ack "+id) > 0) != want {
					t.Errorf("turn %s: acknowledged %d times", id, f.count("ack "+id))
				}
			}
		})
	}
}
