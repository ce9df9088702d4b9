package orchestrator_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/logging"
	"telecodex.dev/services/orchestrator"
)

// workerVariable makes the test binary a worker of its own process, to be killed:
// it holds the state directory.
const workerVariable = "ORCHESTRATOR_TEST_WORKER"

// workerMain is that process. It writes its address beside the state directory
// and leaves with SIGKILL, or when its stdin ends.
func workerMain() int {
	state := os.Getenv(workerVariable)
	getenv := map[string]string{
		"PATH":                    os.Getenv("PATH"),
		"ORCHESTRATOR_CODEX_BIN":  os.Getenv("FAKE_CODEX"),
		"ORCHESTRATOR_CODEX_HOME": filepath.Join(filepath.Dir(state), "codex_home"),
		"ORCHESTRATOR_STATE_DIR":  state,
		"ORCHESTRATOR_DRAIN_S":    "0",
	}
	config, err := orchestrator.ConfigFrom([]string{"--metrics-addr", "off", "--listen-addr", "127.0.0.1:0"},
		func(name string) string { return getenv[name] })
	if err != nil {
		return 2
	}
	if config.Log, err = logging.New(os.Stderr, "debug"); err != nil {
		return 2
	}
	config.Ready = func(addr net.Addr) {
		temporary := addressFile(state) + ".new"
		if os.WriteFile(temporary, []byte(addr.String()), 0o600) == nil {
			_ = os.Rename(temporary, addressFile(state)) // the test waits for it
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	if err := orchestrator.Run(ctx, config); err != nil {
		return 1
	}
	return 0
}

func addressFile(state string) string { return filepath.Join(filepath.Dir(state), "address") }

// process is a worker in a process of its own.
type process struct {
	*worker
	command *exec.Cmd
	stdin   interface{ Close() error }
	stderr  *bytes.Buffer
}

func startProcess(t *testing.T, state string) *process {
	t.Helper()
	if err := os.RemoveAll(addressFile(state)); err != nil {
		t.Fatal(err)
	}
	p := &process{worker: &worker{t: t}, command: exec.Command(os.Args[0]), stderr: &bytes.Buffer{}}
	p.command.Env = append(os.Environ(), workerVariable+"="+state, "FAKE_CODEX="+fakecodex)
	p.command.Stderr = p.stderr
	var err error
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	eventually(t, "the worker's process serves", func() bool {
		content, err := os.ReadFile(addressFile(state))
		p.addr = string(content)
		return err == nil
	})
	p.dial()
	return p
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	if p.command.ProcessState != nil {
		return
	}
	_ = p.command.Process.Kill()
	_ = p.command.Wait() // "signal: killed"
	_ = p.stdin.Close()
	if err := p.conn.Close(); err != nil {
		p.t.Error(err)
	}
}

func TestTurnsOfAKilledWorkerAreInterruptedAndNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scenario string
		events   int
		want     string
	}{
		{"hang_no_output", 0, "INTERRUPTED WORKER_LOST"},
		{"hang", 2, "INTERRUPTED WORKER_LOST"},
		{"command_in_progress_hang", 3, "INTERRUPTED WORKER_LOST"},
		{"ignore_sigint", 2, "INTERRUPTED WORKER_LOST"},
		{"linger_after_completed", 4, "SUCCEEDED"}, // the answer was there
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			log := filepath.Join(t.TempDir(), "codex.log")
			r := request("t1", tt.scenario, "FAKE_CODEX_LOG="+log)

			p := startProcess(t, state)
			before := p.status()
			stream := p.run(r)
			if _, err := stream.accepted(); err != nil {
				t.Fatal(err)
			}
			var seen []*orchestratorv1.TurnEvent
			for range tt.events {
				_, event, err := stream.recv()
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, event)
			}
			eventually(t, "codex ran", func() bool { entries, err := codexsim.ReadLog(log); return err == nil && len(entries) == 1 })
			p.kill()
			eventually(t, "codex went with its worker", func() bool { return len(processesWith(log)) == 0 })

			p = startProcess(t, state)
			after := p.status()
			if after.GetWorkerId() != before.GetWorkerId() || after.GetJournalId() != before.GetJournalId() || after.GetProcessId() == before.GetProcessId() {
				t.Errorf("the worker was %v, is %v", before, after)
			}
			attached := p.run(r)
			if accepted, err := attached.accepted(); err != nil || !accepted.GetAttached() {
				t.Fatalf("accepted = %v, %v", accepted, err)
			}
			events, err := attached.events()
			if err != nil {
				t.Fatal(err)
			}
			if finished := p.checkEvents("t1", 0, events); outcome(finished) != tt.want {
				t.Errorf("finished = %v", finished)
			}
			if !bytes.HasPrefix(encoded(t, events), encoded(t, seen)) {
				t.Error("the replay does not begin with what was seen before")
			}
			if entries, err := codexsim.ReadLog(log); err != nil || len(entries) != 1 {
				t.Errorf("codex ran %d times (%v)", len(entries), err)
			}
			next := request("t2", "echo")
			next.SessionId = r.GetSessionId()
			if _, finished := p.finish(next); outcome(finished) != "SUCCEEDED" {
				t.Errorf("the next turn: %v", finished)
			}
		})
	}
}

func TestSecondWorkerOnTheSameStateIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	config := w.config
	err := orchestrator.Run(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "used by another worker") || !strings.Contains(err.Error(), config.StateDir) {
		t.Errorf("Run() = %v", err)
	}
}

func TestAcknowledgedTurnOfAnEarlierProcessIsStillKnown(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := request("t1", "echo")
	w.finish(r)
	if _, err := w.AcknowledgeTurn(t.Context(), &orchestratorv1.AcknowledgeTurnRequest{TurnId: "t1"}); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w = startWith(t, w.config) // drops the events
	eventually(t, "the events are dropped", func() bool {
		events, err := w.watch("t1", 0).events()
		return err == nil && len(events) == 1
	})
	stream := w.run(r)
	if accepted, err := stream.accepted(); err != nil || !accepted.GetAttached() {
		t.Fatalf("accepted = %v, %v", accepted, err)
	}
	if finished := w.end(stream); outcome(finished) != "SUCCEEDED" || finished.GetFinalText() != "You said: hello" {
		t.Errorf("finished = %v", finished)
	}
	if took := time.Since(w.turn("t1").GetCreatedAt().AsTime()); took > time.Minute {
		t.Errorf("created %v ago", took)
	}
}
