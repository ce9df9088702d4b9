package conformance

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
)

// request makes a request of a new turn in a new session, for a scenario of
// fakecodex; an empty one is its echo. variables are NAME=value.
func (w *target) request(t *testing.T, scenario string, variables ...string) *orchestratorv1.RunTurnRequest {
	t.Helper()
	id := uuid.NewString()
	env := map[string]string{"FAKE_CODEX_SCENARIO": scenario}
	if scenario == "" {
		delete(env, "FAKE_CODEX_SCENARIO")
	}
	if w.shared != "" {
		env["FAKE_CODEX_LOG"] = w.logOf("conformance-" + id)
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return &orchestratorv1.RunTurnRequest{
		TurnId:    "conformance-" + id,
		SessionId: "conformance:" + id,
		Prompt:    promptMark + " " + id,
		Env:       env,
	}
}

func (w *target) logOf(turnID string) string { return filepath.Join(w.shared, turnID+".log") }

// starts is how often Codex was started for a turn; known is false where the
// suite cannot see it.
func (w *target) starts(t *testing.T, turnID string) (n int, known bool) {
	t.Helper()
	if w.shared == "" {
		return 0, false
	}
	entries, err := codexsim.ReadLog(w.logOf(turnID))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Event == "start" {
			n++
		}
	}
	return n, true
}

// wantStarts checks how often Codex was started for a turn, where that can be
// seen.
func (w *target) wantStarts(t *testing.T, turnID string, want int) {
	t.Helper()
	if n, known := w.starts(t, turnID); known && n != want {
		t.Errorf("Codex was started %d times for %s, want %d", n, turnID, want)
	}
}

// settle stops a turn and waits for its end, so that it holds no slot.
func (w *target) settle(t *testing.T, turnID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := w.client.CancelTurn(ctx, &orchestratorv1.CancelTurnRequest{TurnId: turnID})
	if err != nil {
		if code := codeOf(err); code != codes.Unavailable { // the test has ended its worker
			t.Errorf("CancelTurn at the end: %v", err)
		}
		return
	}
	for turn := answer.GetTurn(); !terminal(turn.GetState()); {
		if turn, err = w.poll(ctx, turnID); err != nil {
			t.Errorf("waiting for the end of %s: %v", turnID, err)
			return
		}
	}
}

// poll waits a little, then asks for a turn.
func (w *target) poll(ctx context.Context, turnID string) (*orchestratorv1.Turn, error) {
	pause := time.NewTimer(10 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answer, err := w.client.GetTurn(ctx, &orchestratorv1.GetTurnRequest{TurnId: turnID})
	return answer.GetTurn(), err
}

// get asks for a turn.
func (w *target) get(t *testing.T, turnID string) *orchestratorv1.Turn {
	t.Helper()
	answer, err := w.client.GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{TurnId: turnID})
	if err != nil {
		t.Fatalf("GetTurn: %v", err)
	}
	return answer.GetTurn()
}

// extensions makes the map of a request.
func extensions(t *testing.T, values map[string]any) map[string]*structpb.Value {
	t.Helper()
	converted := make(map[string]*structpb.Value, len(values))
	for key, value := range values {
		var err error
		if converted[key], err = structpb.NewValue(value); err != nil {
			t.Fatal(err)
		}
	}
	return converted
}

// ended waits until a turn has ended.
func (w *target) ended(t *testing.T, turnID string) *orchestratorv1.Turn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		turn, err := w.poll(ctx, turnID)
		if err != nil {
			t.Fatalf("waiting for the end of %s: %v", turnID, err)
		}
		if terminal(turn.GetState()) {
			return turn
		}
	}
}

// runAndHangUp opens a RunTurn stream and closes it without reading.
func (w *target) runAndHangUp(t *testing.T, request *orchestratorv1.RunTurnRequest) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := w.client.RunTurn(ctx, request); err != nil {
		t.Fatalf("RunTurn: %v", err)
	}
}

// state is the worker's state now.
func (w *target) state(t *testing.T) *orchestratorv1.WatchWorkerResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := w.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		t.Fatalf("WatchWorker: %v", err)
	}
	state, err := stream.Recv()
	if err != nil {
		t.Fatalf("WatchWorker: %v", err)
	}
	return state
}
