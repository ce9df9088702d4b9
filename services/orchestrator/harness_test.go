package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// fakecodex is the path of the scripted Codex, built once.
var fakecodex string

func TestMain(m *testing.M) {
	proctree.Main()
	if os.Getenv(workerVariable) != "" {
		os.Exit(workerMain())
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fakecodex")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fakecodex = filepath.Join(dir, "fakecodex")
	if runtime.GOOS == "windows" {
		fakecodex += ".exe"
	}
	build := exec.Command("go", "build", "-o", fakecodex, "telecodex.dev/services/internal/codexsim/cmd/fakecodex")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build fakecodex: %v\n%s", err, out)
		return 1
	}
	status := m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// buffer is a log that may be written and read at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// worker is a worker in the test's own process, reached over loopback.
type worker struct {
	orchestratorv1.OrchestratorServiceClient
	t      testing.TB
	config orchestrator.Config
	addr   string
	conn   *grpc.ClientConn
	logs   *buffer
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

// testConfig is a configuration for fakecodex with everything under one
// directory.
func testConfig(t testing.TB) orchestrator.Config {
	t.Helper()
	dir := t.TempDir()
	getenv := map[string]string{
		"PATH":                    os.Getenv("PATH"),
		"ORCHESTRATOR_CODEX_BIN":  fakecodex,
		"ORCHESTRATOR_CODEX_HOME": filepath.Join(dir, "codex_home"),
		"ORCHESTRATOR_STATE_DIR":  filepath.Join(dir, "state"),
		"ORCHESTRATOR_DRAIN_S":    "0",
		"ORCHESTRATOR_CODEX_ENV":  "FAKE_CODEX_EXPECT_SANDBOX=workspace-write",
	}
	config, err := orchestrator.ConfigFrom([]string{"--metrics-addr", "", "--listen-addr", "127.0.0.1:0"},
		func(name string) string { return getenv[name] })
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// start runs a worker until the test ends.
func start(t testing.TB, change ...func(*orchestrator.Config)) *worker {
	t.Helper()
	config := testConfig(t)
	for _, c := range change {
		c(&config)
	}
	return startWith(t, config)
}

func startWith(t testing.TB, config orchestrator.Config) *worker {
	t.Helper()
	w := &worker{t: t, config: config, logs: &buffer{}, done: make(chan error, 1)}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(w.logs), zap.DebugLevel)
	config.Log = zap.New(core)
	ready := make(chan net.Addr, 1)
	config.Ready = func(addr net.Addr) { ready <- addr }
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.done <- orchestrator.Run(ctx, config) }()
	select {
	case addr := <-ready:
		w.addr = addr.String()
	case err := <-w.done:
		cancel()
		t.Fatalf("the worker did not start: %v", err)
	}
	w.dial()
	t.Cleanup(w.stop)
	return w
}

func (w *worker) dial() {
	conn, err := rpc.Dial(w.addr, rpc.DialOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.conn = conn
	w.OrchestratorServiceClient = orchestratorv1.NewOrchestratorServiceClient(conn)
}

// stop ends the worker in order.
func (w *worker) stop() {
	w.once.Do(func() {
		w.cancel()
		if err := errors.Join(<-w.done, w.conn.Close()); err != nil {
			w.t.Errorf("the worker ended with %v", err)
		}
	})
}

// stateFiles is the content of everything the worker keeps on its disk.
func (w *worker) stateFiles() string {
	w.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(w.config.StateDir, "private"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all.String()
}

// request is a RunTurnRequest for a scenario of fakecodex; further words are
// NAME=value of its environment.
func request(turnID, scenario string, env ...string) *orchestratorv1.RunTurnRequest {
	r := &orchestratorv1.RunTurnRequest{TurnId: turnID, SessionId: "telegram:" + turnID, Prompt: "hello", Env: map[string]string{"FAKE_CODEX_SCENARIO": scenario}}
	for _, word := range env {
		name, value, _ := strings.Cut(word, "=")
		r.Env[name] = value
	}
	return r
}

// eventStream is what RunTurn and WatchTurn have in common.
type eventStream struct {
	recv func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error)
	stop context.CancelFunc
}

func (w *worker) run(r *orchestratorv1.RunTurnRequest) *eventStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	stream, err := w.RunTurn(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return &eventStream{stop: cancel, recv: func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error) {
		m, err := stream.Recv()
		return m.GetAccepted(), m.GetEvent(), err
	}}
}

func (w *worker) watch(turnID string, after uint64) *eventStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	stream, err := w.WatchTurn(ctx, &orchestratorv1.WatchTurnRequest{TurnId: turnID, AfterSequence: after})
	if err != nil {
		w.t.Fatal(err)
	}
	return &eventStream{stop: cancel, recv: func() (*orchestratorv1.Accepted, *orchestratorv1.TurnEvent, error) {
		m, err := stream.Recv()
		return m.GetAccepted(), m.GetEvent(), err
	}}
}

// accepted receives the first message, or the error of the call.
func (s *eventStream) accepted() (*orchestratorv1.Accepted, error) {
	accepted, _, err := s.recv()
	return accepted, err
}

// events receives what is left, to the end of the stream.
func (s *eventStream) events() (events []*orchestratorv1.TurnEvent, err error) {
	for {
		_, event, err := s.recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		if event != nil {
			events = append(events, event)
		}
	}
}

// finish runs a turn to its end and checks what holds for every turn: accepted
// first, sequences without gaps, one finished event, at the end.
func (w *worker) finish(r *orchestratorv1.RunTurnRequest) ([]*orchestratorv1.TurnEvent, *orchestratorv1.Finished) {
	w.t.Helper()
	stream := w.run(r)
	if accepted, err := stream.accepted(); err != nil || accepted.GetWorkerId() == "" || accepted.GetJournalId() == "" {
		w.t.Fatalf("accepted = %v, %v", accepted, err)
	}
	events, err := stream.events()
	if err != nil {
		w.t.Fatal(err)
	}
	return events, w.checkEvents(r.GetTurnId(), r.GetAfterSequence(), events)
}

func (w *worker) checkEvents(turnID string, after uint64, events []*orchestratorv1.TurnEvent) *orchestratorv1.Finished {
	w.t.Helper()
	for i, event := range events {
		if event.GetTurnId() != turnID || event.GetSequence() != after+uint64(i)+1 || event.GetOccurredAt() == nil || event.GetKind() == 0 {
			w.t.Errorf("event %d is %v", i, event)
		}
		if (event.GetFinished() != nil) != (i == len(events)-1) {
			w.t.Errorf("event %d of %d: finished is %v", i, len(events), event.GetFinished() != nil)
		}
	}
	if len(events) == 0 {
		w.t.Fatal("no events")
	}
	return events[len(events)-1].GetFinished()
}

func (w *worker) turn(turnID string) *orchestratorv1.Turn {
	w.t.Helper()
	r, err := w.GetTurn(w.t.Context(), &orchestratorv1.GetTurnRequest{TurnId: turnID})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.GetTurn()
}

// encoded is the bytes of events, for comparison.
func encoded(t testing.TB, events []*orchestratorv1.TurnEvent) []byte {
	t.Helper()
	var all []byte
	for _, event := range events {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, body...), 0)
	}
	return all
}

// outcome is a finished event in words.
func outcome(f *orchestratorv1.Finished) string {
	words := []string{strings.TrimPrefix(f.GetState().String(), "TURN_STATE_")}
	if detail := f.GetErrorDetail(); detail != nil {
		words = append(words, strings.TrimPrefix(detail.GetCause().String(), "FINISH_CAUSE_"))
	}
	return strings.Join(words, " ")
}

// eventually polls a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		runtime.Gosched()
		<-time.After(5 * time.Millisecond)
	}
}
