package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
)

// quiet is how long nothing may end after the first event of a live turn.
const quiet = 200 * time.Millisecond

// A worker that holds events back until Codex leaves can never pass; one that
// does not may be stalled by the machine for as long as the scenario lasts, so
// there are three tries.
func TestEventsAreObservableBeforeProcessExit(t *testing.T) {
	const tries = 3
	for try := 1; ; try++ {
		state, silence := liveTurn(t)
		if state == orchestratorv1.TurnState_TURN_STATE_RUNNING && silence >= quiet {
			return
		}
		if try == tries {
			t.Fatalf("after the first event GetTurn says %v, and finished arrived %v later (want RUNNING, at least %v)", state, silence, quiet)
		}
		t.Logf("try %d: %v, finished after %v", try, state, silence)
	}
}

// liveTurn returns the state of a turn just after its first event, and the time
// from that event to the next one that says that the process is about to end.
func liveTurn(t *testing.T) (orchestratorv1.TurnState, time.Duration) {
	t.Helper()
	f := underTest.run(t, underTest.request(t, "live_two_events_long_delay"))
	first := f.next()
	seen := time.Now()
	if first.GetThreadStarted() == nil {
		t.Fatalf("the first event is %v", first)
	}
	turn := underTest.get(t, f.turnID)
	second := f.next()
	silence := time.Since(seen)
	if second.GetTurnCompleted() == nil {
		t.Fatalf("the second event is %v", second)
	}
	if turn.GetFinished() != nil {
		t.Errorf("GetTurn shows finished in state %v", turn.GetState())
	}
	if state := f.finished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("finished as %v", state)
	}
	return turn.GetState(), silence
}

func TestRequestEnvOverridesBackendEnv(t *testing.T) {
	t.Parallel()
	f := underTest.run(t, underTest.request(t, "turn_failed", "FAKE_CODEX_MESSAGE=from the request"))
	said := slices.ContainsFunc(f.rest(), func(e *orchestratorv1.TurnEvent) bool {
		return e.GetTurnFailed() != nil && e.GetMessage() == "from the request"
	})
	if !said {
		t.Errorf("turn.failed does not say what the request's environment holds: %v", f.events)
	}
}

// The worker under test is started with the backend's environment (backendEnv).
func TestSharedDirShowsThatRequestEnvOverridesBackendEnv(t *testing.T) {
	t.Parallel()
	path := filepath.Join(underTest.shared, t.Name(), "env")
	request := underTest.request(t, "dump_env_then_exit", "CODEX_WRAPPER_TEST_DUMP_ENV="+path, "C2_SHARED=request", "C2_REQUEST=request")
	if state := underTest.run(t, request).finished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Fatalf("finished as %v", state)
	}
	env := readEnv(t, path)
	for name, want := range map[string]string{"C2_SHARED": "request", "C2_REQUEST": "request"} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if env["C2_BACKEND"] != "backend" {
		t.Errorf("C2_BACKEND is %q: the worker's settings are lost, or ORCHESTRATOR_CODEX_ENV was not %s", env["C2_BACKEND"], backendEnv)
	}
	if underTest.own == nil {
		return
	}
	for name := range env {
		if name == "C2_PARENT" || strings.HasPrefix(name, "ORCHESTRATOR_") {
			t.Errorf("Codex inherits %s from the worker", name)
		}
	}
}

func readEnv(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	env := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		env[name] = value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return env
}

func TestRedactionDoesNotLeakRawJSONLLine(t *testing.T) {
	// As the scenario writes them.
	lines := []struct {
		text  string
		phase orchestratorv1.LinePhase
		says  string
	}{
		{"this line is not JSON: " + codexsim.RawLineSecret, orchestratorv1.LinePhase_LINE_PHASE_PARSE, "codex stream parse error (redacted): "},
		{`{"type":"thread.started","note":"` + codexsim.RawLineSecret + `"}`, orchestratorv1.LinePhase_LINE_PHASE_NORMALIZE, "codex stream normalize error (redacted): "},
	}
	request := underTest.request(t, "emit_normalize_error_with_rawline_secret")
	f := underTest.run(t, request)
	events := f.rest()
	if len(events) != len(lines)+2 {
		t.Fatalf("%d events: %v", len(events), events)
	}
	for i, line := range lines {
		event := events[i]
		got := event.GetLineError()
		if got.GetPhase() != line.phase || got.GetLineBytes() != uint64(len(line.text)) || got.GetLineNumber() != uint64(i+1) {
			t.Errorf("line error %d is %v, want %v of %d bytes", i+1, got, line.phase, len(line.text))
		}
		if event.GetKind() != orchestratorv1.EventKind_EVENT_KIND_ERROR || event.GetChannel() != "error" {
			t.Errorf("line error %d is a %v on channel %q", i+1, event.GetKind(), event.GetChannel())
		}
		if !strings.HasPrefix(event.GetMessage(), line.says) || !strings.HasSuffix(event.GetMessage(), fmt.Sprintf(" (line_bytes=%d)", len(line.text))) {
			t.Errorf("line error %d says %q", i+1, event.GetMessage())
		}
	}
	if events[2].GetTurnCompleted() == nil {
		t.Errorf("the valid line after them became %v", events[2])
	}
	if state := events[3].GetFinished().GetState(); state != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
		t.Errorf("finished as %v", state)
	}
	wantNoSecret(t, f, codexsim.RawLineSecret)
}

// TestNothingCodexSaysAmissLeaks holds every other way of going wrong to the
// same rule.
func TestNothingCodexSaysAmissLeaks(t *testing.T) {
	for scenario, secret := range map[string]string{
		"garbage":     codexsim.RawLineSecret,
		"crash":       codexsim.StderrSecret,
		"exit1_empty": codexsim.StderrSecret,
	} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			f := underTest.run(t, underTest.request(t, scenario))
			f.rest()
			wantNoSecret(t, f, secret)
		})
	}
}

// wantNoSecret looks for a sentinel in everything that a turn that has ended
// left behind.
func wantNoSecret(t *testing.T, f *follow, secret string) {
	t.Helper()
	for _, event := range f.events {
		if strings.Contains(prototext.Format(event), secret) {
			t.Errorf("it is in event %d", event.GetSequence())
		}
	}
	if strings.Contains(prototext.Format(underTest.get(t, f.turnID)), secret) {
		t.Error("it is in GetTurn's answer")
	}
	// Errors about this turn, from what the worker keeps of it.
	wantNoSecretInErrors(t, f.turnID, secret)
	if underTest.own == nil {
		return
	}
	if strings.Contains(underTest.own.Stderr()+underTest.own.Stdout(), secret) {
		t.Error("it is in the worker's log")
	}
	wantNoFileWith(t, underTest.own.StateDir(), secret)
}

// wantNoSecretInErrors has a turn's id used again with another input: those errors
// are made from what the worker knows of the turn.
func wantNoSecretInErrors(t *testing.T, turnID, secret string) {
	t.Helper()
	for name, change := range map[string]func(*orchestratorv1.RunTurnRequest){
		"prompt":  func(r *orchestratorv1.RunTurnRequest) { r.Prompt = "another prompt" },
		"session": func(r *orchestratorv1.RunTurnRequest) { r.SessionId = "another session" },
	} {
		in := underTest.request(t, "")
		in.TurnId = turnID
		change(in)
		stream, err := underTest.client.RunTurn(t.Context(), in)
		if err == nil {
			_, err = stream.Recv()
		}
		refused := status.Convert(err)
		if refused.Code() != codes.AlreadyExists {
			t.Errorf("the turn's id with another %s: %v", name, err)
		}
		if strings.Contains(prototext.Format(refused.Proto()), secret) {
			t.Errorf("it is in the error about another %s", name)
		}
	}
}

// wantNoFileWith searches the files beneath a directory, journal and write-ahead
// log among them.
func wantNoFileWith(t *testing.T, dir, secret string) {
	t.Helper()
	searched := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searched++
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("it is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if searched == 0 {
		t.Errorf("there is no file beneath %s", dir)
	}
}
