package conformance

import (
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestOwnWorkerThatIsKilledInterruptsItsTurnsAndKeepsTheirEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := underTest.worker(t, dir)
	done := first.request(t, "all_items")
	doneEvents := first.run(t, done).rest()
	open := first.request(t, "hang")
	f := first.run(t, open)
	seen := []*orchestratorv1.TurnEvent{f.next(), f.next()}
	before := first.state(t)
	if err := first.own.Kill(); err != nil {
		t.Fatal(err)
	}

	second := underTest.worker(t, dir)
	after := second.state(t)
	if after.GetWorkerId() != before.GetWorkerId() || after.GetJournalId() != before.GetJournalId() {
		t.Errorf("the worker is %v, it was %v", after, before)
	}
	if after.GetProcessId() == before.GetProcessId() {
		t.Error("process_id is the same")
	}
	if after.GetSlotsUsed() != 0 {
		t.Errorf("%d slots are used", after.GetSlotsUsed())
	}
	equalEvents(t, "the turn that had ended", doneEvents, second.watch(t, done.GetTurnId(), 0).rest())
	again := second.run(t, open)
	if !again.accepted.GetAttached() {
		t.Error("accepted does not say attached")
	}
	wantEnd(t, again.finished(), orchestratorv1.TurnState_TURN_STATE_INTERRUPTED, orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST)
	equalEvents(t, "what was seen before", seen, again.events[:min(len(seen), len(again.events))])
	second.wantStarts(t, open.GetTurnId(), 1)
	t.Run("its session is free again", func(t *testing.T) {
		next := second.request(t, "")
		next.SessionId = open.GetSessionId()
		wantEnd(t, second.run(t, next).finished(), succeeded, 0)
	})
}

func TestOwnWorkerWithAnotherDiskIsAnotherJournal(t *testing.T) {
	t.Parallel()
	first := underTest.worker(t, t.TempDir())
	second := underTest.worker(t, t.TempDir())
	if a, b := first.state(t), second.state(t); a.GetJournalId() == b.GetJournalId() || a.GetWorkerId() == b.GetWorkerId() {
		t.Errorf("workers %v and %v", a, b)
	}
	request := first.request(t, "")
	f := first.run(t, request)
	f.rest()
	_, err := second.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: request.GetTurnId(), ExpectedJournalId: f.accepted.GetJournalId()})
	wantRefusal(t, err, codes.FailedPrecondition, diagnosticsv1.ErrorReason_ERROR_REASON_JOURNAL_MISMATCH)
}

func TestOwnWorkerWithoutCodexFailsTheTurn(t *testing.T) {
	t.Parallel()
	w := underTest.worker(t, t.TempDir(), "ORCHESTRATOR_CODEX_BIN="+filepath.Join(t.TempDir(), "missing"))
	request := w.request(t, "")
	finished := w.run(t, request).finished()
	wantEnd(t, finished, failed, orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN)
	if got, want := finished.GetErrorDetail().GetMessage(), "codex backend error: spawn"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if finished.ExitCode != nil {
		t.Errorf("exit_code %d", finished.GetExitCode())
	}
	if got := w.get(t, request.GetTurnId()); got.GetStartedAt() != nil {
		t.Errorf("GetTurn says %v", got)
	}
	answer, err := w.client.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil || answer.GetCodexVersion() != "" {
		t.Errorf("GetCapabilities says version %q, %v", answer.GetCodexVersion(), err)
	}
}

func TestOwnWorkerEndsATurnThatIsIdle(t *testing.T) {
	t.Parallel()
	w := underTest.worker(t, t.TempDir(), "ORCHESTRATOR_IDLE_TIMEOUT_S=1")
	for _, scenario := range []string{"hang", "hang_no_output"} {
		t.Run(scenario+" is ended", func(t *testing.T) {
			finished := w.run(t, w.request(t, scenario)).finished()
			wantEnd(t, finished, failed, orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT)
			if got, want := finished.GetErrorDetail().GetMessage(), "codex stream idle timeout"; got != want {
				t.Errorf("message %q, want %q", got, want)
			}
		})
	}
	t.Run("a command in progress may be silent", func(t *testing.T) {
		request := w.request(t, "command_in_progress_hang")
		request.Timeout = durationpb.New(3 * time.Second)
		wantEnd(t, w.run(t, request).finished(), failed, orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT)
	})
}

func TestOwnWorkerTakesAWorkingDirBeneathARoot(t *testing.T) {
	t.Parallel()
	w := underTest.worker(t, t.TempDir())
	request := w.request(t, "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV=here/env")
	request.WorkingDir = w.own.WorkspaceRoot()
	wantEnd(t, w.run(t, request).finished(), succeeded, 0)
	// A relative path shows where Codex works.
	readEnv(t, filepath.Join(request.GetWorkingDir(), "here", "env"))
}
