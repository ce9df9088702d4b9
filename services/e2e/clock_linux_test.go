package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/diskfile"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// clockVariable names a file: from when it is there, the clock of a program that
// was built withClock says an hour less. What a machine's clock says concerns
// everybody on it, so the clock is set back in the standard library that the
// programs are built with.
const clockVariable = "TELECODEX_TEST_CLOCK"

// clockSource is added to the package time. What Now asks for may be asked for on the
// runtime's own stack, so somebody else looks.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var setBack atomic.Int64

func init() {
	path, set := syscall.Getenv("` + clockVariable + `")
	if !set {
		return
	}
	go func() {
		for syscall.Access(path, 0) != nil {
			Sleep(Millisecond)
		}
		setBack.Store(3600)
	}()
}
`

// withClock builds gateway and worker with a clock that can be set back.
func withClock(t *testing.T) harness.Programs {
	t.Helper()
	kept, err := harness.Artifacts("clock") // one place, so that nothing is built twice
	if err != nil {
		t.Fatal(err)
	}
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), now) != 1 {
		t.Fatal("time.Now has changed: the clock that can be set back no longer fits")
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, content := range map[string]string{
		"time.go":    strings.Replace(string(source), now, now+"\tsec -= setBack.Load()\n", 1),
		"setback.go": clockSource,
	} {
		path := filepath.Join(kept, name)
		writeOnce(t, path, content)
		overlay.Replace[filepath.Join(library, name)] = path
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(kept, "overlay.json")
	writeOnce(t, path, string(list))
	programs, err := harness.BuildWith(t.Context(), t.TempDir(), []string{"-overlay=" + path}, "gateway", "orchestrator")
	if err != nil {
		t.Fatal(err)
	}
	return programs
}

// writeOnce writes a file unless it says so already: another test may read it.
func writeOnce(t *testing.T, path, content string) {
	t.Helper()
	if there, err := os.ReadFile(path); err == nil && string(there) == content {
		return
	}
	if err := diskfile.Replace(path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// TestAClockThatIsSetBackAnHourHoldsNothingUp sets the clock of both services back
// while a turn runs, one hangs until its limit, a chat has to wait for Telegram, a
// message is held back for a decision, and a second gateway stands by. Each takes
// the time it would have taken: no hour more, and no moment less.
func TestAClockThatIsSetBackAnHourHoldsNothingUp(t *testing.T) {
	t.Parallel()
	const runs, limited, blocked, held = chat, 1001, 1002, 1003
	const wait, limit, retry = 8 * time.Second, 6 * time.Second, 4
	programs := withClock(t)
	s := newSystem(t)
	s.programs = &programs
	clock := filepath.Join(s.dir, "clock")
	settings := []string{clockVariable + "=" + clock, "CHANNEL_ALLOWED_CHAT_IDS=1000,1001,1002,1003",
		"CHANNEL_INTERRUPTED_WAIT_S=8", "CHANNEL_CODEX_TIMEOUT_S=6"}
	s.startWorker(settings[0])
	first := s.startGateway(nil, settings...)
	s.tell(held, "!scenario hang\nx")
	s.eventually("Codex runs", func() bool { started, _ := s.runs("x"); return started == 1 })
	s.tell(held, "held back")
	if err := s.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	s.startWorker(settings[0])
	asked := s.hearsIn(held, "This task was interrupted")
	operator, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	s.startGateway(nil, append(settings, "CHANNEL_LISTEN_ADDR="+operator)...)
	t.Cleanup(func() {
		if err := first.Kill(); err != nil {
			t.Error(err)
		}
	})
	s.eventually("the second one stands by", func() bool { return standsBy(t, operator) })

	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: blocked, Status: 429, RetryAfter: retry, Count: 1})
	s.tell(blocked, "answered later")
	s.tell(runs, "!scenario slow FAKE_CODEX_DELAY=700\nruns")
	s.tell(limited, "!scenario hang\nhangs")
	s.eventually("both run", func() bool { a, _ := s.runs("runs"); b, _ := s.runs("hangs"); return a+b == 2 })
	begun := time.Now()
	refused := s.refusal(blocked)
	if err := os.WriteFile(clock, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	s.hearsIn(runs, "You said: runs")
	if waited := s.hearsIn(blocked, "You said: answered later").Sub(refused); waited < retry*time.Second {
		t.Errorf("Telegram was asked again after %v, not %v", waited, retry*time.Second)
	}
	if took := s.hearsIn(limited, "Sorry, ").Sub(begun); took < limit-time.Second { // it had begun a little before
		t.Errorf("the limit of a turn came after %v, not %v", took, limit)
	}
	if waited := s.hearsIn(held, "You said: held back").Sub(asked); waited < wait-time.Second/2 { // the notice was stored before it was sent
		t.Errorf("what was held back went on after %v, not %v", waited, wait)
	}
	if !standsBy(t, operator) {
		t.Error("a gateway that lives was replaced")
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	s.tell(runs, "afterwards")
	s.hearsIn(runs, "You said: afterwards")
}

func (s *system) tell(chat int64, text string) {
	s.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: text})
}

// hearsIn waits for a message that contains a text, and returns when it was sent.
func (s *system) hearsIn(chat int64, text string) (at time.Time) {
	s.t.Helper()
	s.eventually("a message that says "+text, func() bool {
		for _, m := range s.sim.Messages(chat) {
			if at = m.At; strings.Contains(m.Text, text) {
				return true
			}
		}
		return false
	})
	return at
}

// refusal waits until Telegram has told a chat to wait, and returns when.
func (s *system) refusal(chat int64) time.Time {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	calls, err := s.sim.WaitForCalls(ctx, telegramsim.CallFilter{Method: "sendMessage", ChatID: chat}, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return calls[0].At
}
