package orchestrator_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator"
)

// begin starts a turn and waits until it has so many events.
func (w *worker) begin(r *orchestratorv1.RunTurnRequest, events int) *eventStream {
	w.t.Helper()
	stream := w.run(r)
	if _, err := stream.accepted(); err != nil {
		w.t.Fatal(err)
	}
	for range events {
		if _, _, err := stream.recv(); err != nil {
			w.t.Fatal(err)
		}
	}
	return stream
}

// end receives the rest of a stream and returns how the turn ended.
func (w *worker) end(stream *eventStream) *orchestratorv1.Finished {
	w.t.Helper()
	events, err := stream.events()
	if err != nil || len(events) == 0 {
		w.t.Fatalf("%d events, %v", len(events), err)
	}
	return events[len(events)-1].GetFinished()
}

func (w *worker) cancelTurn(turnID string) *orchestratorv1.Turn {
	w.t.Helper()
	r, err := w.CancelTurn(w.t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: turnID})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.GetTurn()
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scenario string
		events   int // before the cancel
		want     string
	}{
		{"hang", 2, "CANCELLED CANCELLED"},
		{"hang_no_output", 0, "CANCELLED CANCELLED"},
		{"command_in_progress_hang", 3, "CANCELLED CANCELLED"},
		{"ignore_sigint", 2, "CANCELLED CANCELLED"},
		{"linger_after_completed", 4, "SUCCEEDED"},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			stream := w.begin(request("t1", tt.scenario), tt.events)
			for range 2 { // idempotent
				if turn := w.cancelTurn("t1"); turn.GetTurnId() != "t1" {
					t.Errorf("CancelTurn() = %v", turn)
				}
			}
			finished := w.end(stream)
			if outcome(finished) != tt.want {
				t.Errorf("finished = %v", finished)
			}
			before := w.turn("t1")
			if after := w.cancelTurn("t1"); after.GetState() != before.GetState() {
				t.Errorf("a cancel after the end made it %v", after)
			}
			if status := w.status(); status.GetSlotsUsed() != 0 {
				t.Errorf("%d slots are used", status.GetSlotsUsed())
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	idle := func(d time.Duration) func(*orchestrator.Config) {
		return func(c *orchestrator.Config) { c.IdleTimeout = d }
	}
	for _, tt := range []struct {
		name    string
		r       *orchestratorv1.RunTurnRequest
		timeout time.Duration
		config  func(*orchestrator.Config)
		want    string
		message string
	}{
		{"overall limit of the request", request("t1", "hang"), 300 * time.Millisecond, idle(time.Hour), "FAILED TIMEOUT", "codex backend error: timeout"},
		{"overall limit of the worker", request("t1", "hang"), 0, func(c *orchestrator.Config) { c.TurnTimeout = 300 * time.Millisecond }, "FAILED TIMEOUT", "codex backend error: timeout"},
		{"no event", request("t1", "hang"), 0, idle(300 * time.Millisecond), "FAILED IDLE_TIMEOUT", "codex stream idle timeout"},
		{"no output at all", request("t1", "hang_no_output"), 0, idle(300 * time.Millisecond), "FAILED IDLE_TIMEOUT", "codex stream idle timeout"},
		{"silence of a command is no silence", request("t1", "command_in_progress_hang"), 3 * time.Second, idle(time.Second), "FAILED TIMEOUT", "codex backend error: timeout"},
		{"slow but alive", request("t1", "slow", "FAKE_CODEX_DELAY=400"), 0, idle(3 * time.Second), "SUCCEEDED", ""},
		{"closed output", request("t1", "close_stdout_and_hang"), 0, idle(time.Hour), "FAILED IO", "codex stream closed unexpectedly"},
		{"lingering after the end", request("t1", "linger_after_completed"), 0, idle(time.Hour), "SUCCEEDED", ""},
		{"deaf to SIGINT", request("t1", "ignore_sigint"), 300 * time.Millisecond, idle(time.Hour), "FAILED TIMEOUT", "codex backend error: timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, tt.config)
			if tt.timeout > 0 {
				tt.r.Timeout = durationpb.New(tt.timeout)
			}
			_, finished := w.finish(tt.r)
			if outcome(finished) != tt.want || finished.GetErrorDetail().GetMessage() != tt.message {
				t.Errorf("finished = %v", finished)
			}
		})
	}
}

func TestNoDescendantSurvivesTheTurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, delay string }{{"that ends", "3000"}, {"that is cancelled", "60000"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			pidFile := filepath.Join(t.TempDir(), "pid")
			r := request("t1", "grandchild", "FAKE_CODEX_PID_FILE="+pidFile, "FAKE_CODEX_DELAY="+tt.delay)
			stream := w.begin(r, 1)
			grandchild, err := codexsim.WatchGrandchild(t.Context(), pidFile)
			if err != nil {
				t.Fatal(err)
			}
			if tt.name == "that is cancelled" {
				w.cancelTurn("t1")
			}
			w.end(stream)
			if alive := processesWith(pidFile); len(alive) > 0 {
				t.Errorf("still alive: %v", alive)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := grandchild.Gone(ctx); err != nil { // as every system can tell
				t.Errorf("the connection of the grandchild is still open: %v", err)
			}
		})
	}
}

// processesWith finds processes by a word of their environment (Linux; elsewhere
// none).
func processesWith(word string) (pids []string) {
	entries, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	for _, path := range entries {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), word) {
			pids = append(pids, path)
		}
	}
	return pids
}

func TestDrainingWorkerStopsWhatRunsTooLong(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *orchestrator.Config) { c.Drain = 0 })
	stream := w.begin(request("t1", "hang"), 2)
	w.cancel()
	if finished := w.end(stream); outcome(finished) != "INTERRUPTED DRAINED" {
		t.Errorf("finished = %v", finished)
	}
	w.stop()
}

func TestDrainingWorkerFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *orchestrator.Config) { c.Drain = 30 * time.Second })
	stream := w.begin(request("t1", "turn_1s"), 1)
	w.cancel()
	eventually(t, "the worker says that it drains", func() bool { return w.status().GetDraining() })
	_, err := w.run(request("t2", "echo")).accepted()
	wantFailure(t, err, "Unavailable", "WORKER_DRAINING", "")
	attached := w.run(request("t1", "turn_1s"))
	if accepted, err := attached.accepted(); err != nil || !accepted.GetAttached() {
		t.Errorf("attach while draining: %v, %v", accepted, err)
	}
	if finished := w.end(stream); outcome(finished) != "SUCCEEDED" {
		t.Errorf("finished = %v", finished)
	}
	if finished := w.end(attached); outcome(finished) != "SUCCEEDED" {
		t.Errorf("attached: finished = %v", finished)
	}
	w.stop()
}

// status is the first message of WatchWorker.
func (w *worker) status() *orchestratorv1.WatchWorkerResponse {
	w.t.Helper()
	stream, err := w.WatchWorker(w.t.Context(), &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	status, err := stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return status
}
