//go:build real

package real_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/responses"
)

const (
	turnTimeout = 90 * time.Second
	maxText     = 64 << 10 // bytes of TurnEvent.text and Finished.final_text
	maxMessage  = 4096     // bytes of TurnEvent.message
)

// worker is a running orchestrator with the real Codex beneath it.
type worker struct {
	*program
	orchestratorv1.OrchestratorServiceClient
	target     string // gRPC target
	workspaces string // directory that holds one directory a session
	dir        string // everything the worker writes lies beneath it
	env        []string
}

// startWorker runs the orchestrator against the provider. settings are further variables of its environment, or other values.
func startWorker(t *testing.T, provider *responses.Provider, settings map[string]string) *worker {
	t.Helper()
	codex := codexCommand(t)
	dir := scratch(t)
	home := filepath.Join(dir, "codex-home")
	if err := provider.WriteHome(home); err != nil {
		t.Fatal(err)
	}
	w := &worker{dir: dir, workspaces: filepath.Join(dir, "workspaces"), target: "unix://" + filepath.Join(dir, "worker.sock")}
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir,
		"ORCHESTRATOR_LISTEN_ADDR":   w.target,
		"ORCHESTRATOR_METRICS_ADDR":  "127.0.0.1:0",
		"ORCHESTRATOR_CODEX_BIN":     codex,
		"ORCHESTRATOR_CODEX_HOME":    home,
		"ORCHESTRATOR_CODEX_ENV":     responses.KeyVariable,
		"ORCHESTRATOR_STATE_DIR":     filepath.Join(dir, "state"),
		"ORCHESTRATOR_WORKSPACE_DIR": w.workspaces,
		"ORCHESTRATOR_DRAIN_S":       "1",
		responses.KeyVariable:        responses.Key,
		"TELECODEX_WORKER_SECRET":    workerSecret,
	}
	for name, value := range settings {
		env[name] = value
	}
	w.env = environment(env)
	conn, err := grpc.NewClient(w.target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w.OrchestratorServiceClient = orchestratorv1.NewOrchestratorServiceClient(conn)
	w.start(t)
	return w
}

// start runs the worker's program, for the first time or after it was killed.
func (w *worker) start(t *testing.T) {
	t.Helper()
	w.program = launch(t, w.dir, w.env, binary(t, "orchestrator"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := w.GetCapabilities(ctx, &orchestratorv1.GetCapabilitiesRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatalf("the worker does not answer: %v", err)
	}
}

// workerSecret stands in the worker's own environment, from which Codex must inherit nothing.
const workerSecret = "WORKER_SECRET_DO_NOT_INHERIT"

func environment(variables map[string]string) []string {
	var list []string
	for name, value := range variables {
		list = append(list, name+"="+value)
	}
	return list
}

var turnNumber atomic.Int64

// ask makes a request with a fresh turn id.
func ask(session, prompt string) *orchestratorv1.RunTurnRequest {
	return &orchestratorv1.RunTurnRequest{
		TurnId: "real-" + strconv.FormatInt(turnNumber.Add(1), 10), SessionId: session, Prompt: prompt,
	}
}

// sandboxed asks for a sandbox mode.
func sandboxed(request *orchestratorv1.RunTurnRequest, mode string) *orchestratorv1.RunTurnRequest {
	request.Extensions = map[string]*structpb.Value{"backend.codex.exec.sandbox_mode": structpb.NewStringValue(mode)}
	return request
}

// turn is what the stream of a turn has delivered.
type turn struct {
	id     string
	stream grpc.ServerStreamingClient[orchestratorv1.RunTurnResponse]
	events []*orchestratorv1.TurnEvent
}

// begin starts a turn and reads until it is accepted.
func (w *worker) begin(t *testing.T, request *orchestratorv1.RunTurnRequest) *turn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), turnTimeout)
	t.Cleanup(cancel)
	stream, err := w.RunTurn(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	accepted := first.GetAccepted()
	if accepted == nil || accepted.GetAttached() || accepted.GetWorkerId() == "" || accepted.GetJournalId() == "" {
		t.Fatalf("the first message is %v", first)
	}
	return &turn{id: request.GetTurnId(), stream: stream}
}

// next reads one event and holds it against the contract's bounds; nil at the end of the stream.
func (u *turn) next(t *testing.T) *orchestratorv1.TurnEvent {
	t.Helper()
	message, err := u.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	event := message.GetEvent()
	if event.GetTurnId() != u.id || event.GetSequence() != uint64(len(u.events)+1) || event.GetOccurredAt() == nil {
		t.Fatalf("event %d of %s is number %d of %q", len(u.events)+1, u.id, event.GetSequence(), event.GetTurnId())
	}
	if len(u.events) > 0 && u.events[len(u.events)-1].GetFinished() != nil {
		t.Fatal("an event after finished")
	}
	if len(event.GetText()) > maxText || len(event.GetMessage()) > maxMessage || !utf8.ValidString(event.GetText()) {
		t.Fatalf("event %d exceeds its bounds", event.GetSequence())
	}
	u.events = append(u.events, event)
	return event
}

// until reads events until one satisfies found, and returns it.
func (u *turn) until(t *testing.T, what string, found func(*orchestratorv1.TurnEvent) bool) *orchestratorv1.TurnEvent {
	t.Helper()
	for {
		event := u.next(t)
		if event == nil {
			t.Fatalf("the turn ended (%v) before this event: %s", u.finished(t), what)
		}
		if found(event) {
			return event
		}
	}
}

// rest reads the stream to its end.
func (u *turn) rest(t *testing.T) {
	t.Helper()
	for u.next(t) != nil {
	}
}

// run runs a turn to its end.
func (w *worker) run(t *testing.T, request *orchestratorv1.RunTurnRequest) *turn {
	t.Helper()
	u := w.begin(t, request)
	u.rest(t)
	return u
}

// finished is the turn's last event.
func (u *turn) finished(t *testing.T) *orchestratorv1.Finished {
	t.Helper()
	if len(u.events) == 0 || u.events[len(u.events)-1].GetFinished() == nil {
		t.Fatalf("the last of %d events is no finished", len(u.events))
	}
	return u.events[len(u.events)-1].GetFinished()
}

// mustSucceed fails the test when the turn did not succeed.
func (u *turn) mustSucceed(t *testing.T) {
	t.Helper()
	if f := u.finished(t); f.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED || f.GetErrorDetail() != nil {
		t.Fatalf("finished: %v", f)
	}
}

// answer is the whole text of the turn's last agent message.
func (u *turn) answer(t *testing.T) string {
	t.Helper()
	finished := u.finished(t)
	var text strings.Builder
	for _, event := range u.events {
		item := event.GetItemCompleted().GetItem()
		if item.GetAgentMessage() != nil && item.GetId() == finished.GetAnswerItemId() {
			text.WriteString(event.GetText())
		}
	}
	return text.String()
}

// thread is the Codex thread of the turn.
func (u *turn) thread(t *testing.T) string {
	t.Helper()
	for _, event := range u.events {
		if started := event.GetThreadStarted(); started != nil {
			return started.GetThreadId()
		}
	}
	t.Fatal("no thread_started")
	return ""
}

// completed are the items that came to their end.
func (u *turn) completed() []*orchestratorv1.Item {
	var items []*orchestratorv1.Item
	for _, event := range u.events {
		if item := event.GetItemCompleted().GetItem(); item != nil {
			items = append(items, item)
		}
	}
	return items
}
