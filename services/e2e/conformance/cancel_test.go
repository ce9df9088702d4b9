package conformance

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
)

func (w *target) cancel(t *testing.T, turnID string) *orchestratorv1.Turn {
	t.Helper()
	answer, err := w.client.CancelTurn(t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: turnID})
	if err != nil {
		t.Fatalf("CancelTurn: %v", err)
	}
	return answer.GetTurn()
}

// wantEnd checks why a turn ended.
func wantEnd(t *testing.T, finished *orchestratorv1.Finished, state orchestratorv1.TurnState, cause orchestratorv1.FinishCause) {
	t.Helper()
	if finished.GetState() != state || finished.GetErrorDetail().GetCause() != cause {
		t.Errorf("finished as %v (%v), want %v (%v)", finished.GetState(), finished.GetErrorDetail(), state, cause)
	}
	if failed := state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED; failed && finished.GetErrorDetail().GetMessage() == "" {
		t.Error("error_detail has no message")
	}
}

func TestCancelEndsATurnWhateverItDoes(t *testing.T) {
	for _, scenario := range []string{"hang", "hang_no_output", "ignore_sigint", "command_in_progress_hang", "linger_after_completed"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, scenario)
			f := underTest.run(t, request)
			if scenario != "hang_no_output" {
				f.next()
			}
			before := underTest.cancel(t, request.GetTurnId())
			if before.GetTurnId() != request.GetTurnId() || before.GetTombstone() {
				t.Errorf("CancelTurn says %v", before)
			}
			finished := f.finished()
			if scenario == "linger_after_completed" {
				// It may have been completed already: then it succeeded.
				if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED &&
					finished.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED {
					t.Errorf("finished as %v", finished)
				}
				return
			}
			wantEnd(t, finished, orchestratorv1.TurnState_TURN_STATE_CANCELLED, orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED)
		})
	}
}

func TestCancelIsIdempotent(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "hang")
	f := underTest.run(t, request)
	f.next()
	for range 3 {
		underTest.cancel(t, request.GetTurnId())
	}
	original := f.rest()
	turn := underTest.cancel(t, request.GetTurnId())
	if turn.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED || !proto.Equal(turn.GetFinished(), original[len(original)-1].GetFinished()) {
		t.Errorf("CancelTurn after the end says %v", turn)
	}
	equalEvents(t, "replay", original, underTest.watch(t, request.GetTurnId(), 0).rest())
}

func TestCancelAfterTheEndChangesNothing(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "")
	original := underTest.run(t, request).rest()
	if turn := underTest.cancel(t, request.GetTurnId()); turn.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED || turn.GetTombstone() {
		t.Errorf("CancelTurn says %v", turn)
	}
	equalEvents(t, "replay", original, underTest.watch(t, request.GetTurnId(), 0).rest())
}

func TestTimeoutEndsATurn(t *testing.T) {
	for _, scenario := range []string{"hang", "ignore_sigint", "hang_no_output", "command_in_progress_hang"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, scenario)
			request.Timeout = durationpb.New(500 * time.Millisecond)
			finished := underTest.run(t, request).finished()
			wantEnd(t, finished, orchestratorv1.TurnState_TURN_STATE_FAILED, orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT)
			if want := "codex backend error: timeout"; finished.GetErrorDetail().GetMessage() != want {
				t.Errorf("message %q, want %q", finished.GetErrorDetail().GetMessage(), want)
			}
		})
	}
}

// No descendant of a turn survives it, however the turn ends.
func TestSharedDirShowsThatNoDescendantSurvives(t *testing.T) {
	for _, mode := range []string{"read-only", "workspace-write", "danger-full-access"} {
		for name, end := range map[string]func(t *testing.T, turnID string){
			"by itself": func(*testing.T, string) {},
			"cancelled": func(t *testing.T, turnID string) { underTest.cancel(t, turnID) },
		} {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				request := underTest.request(t, "grandchild", "FAKE_CODEX_DELAY=300", "FAKE_CODEX_EXPECT_SANDBOX="+mode)
				request.Extensions = extensions(t, map[string]any{sandboxMode: mode})
				pidFile := filepath.Join(underTest.shared, request.GetTurnId()+".pid")
				request.Env["FAKE_CODEX_PID_FILE"] = pidFile
				f := underTest.run(t, request)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				grandchild, err := codexsim.WatchGrandchild(ctx, pidFile)
				if err != nil {
					t.Fatal(err)
				}
				end(t, request.GetTurnId())
				f.rest()
				// It is gone when finished is there; only the news may be under way.
				soon, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if err := grandchild.Gone(soon); err != nil {
					t.Errorf("it is alive: %v", err)
				}
			})
		}
	}
}
