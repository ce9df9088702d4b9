package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"telecodex.dev/services/internal/telegramsim"
)

const echoMode = "CHANNEL_ORCHESTRATOR_MODE=default"

// dialed counts the connections to an address until stop is called.
func dialed(t *testing.T, addr string) (count *atomic.Int64, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	count, done := &atomic.Int64{}, make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			conn.Close()
		}
	}()
	return count, func() { listener.Close(); <-done }
}

func TestTheRollbackLeavesTurnsForCodex(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker(s.noCodex())
	s.say("for Codex")
	if _, report := s.once(onSuccess, silent); counted(report) != "0 0 1 1" {
		t.Errorf("report = %v", report)
	}
	s.stopWorker()

	count, stop := dialed(t, s.addr)
	s.say("for the echo")
	status, report := s.once(echoMode, "CHANNEL_ALLOWED_CHAT_IDS=", "CHANNEL_LIVE_MODE=false")
	if status != 0 || report["reason"] != "processed" || counted(report) != "1 1 0 0" || counters(report)["queue_depth"] != 1.0 {
		t.Errorf("status %d, report %v", status, report)
	}
	stop()
	if n := count.Load(); n != 0 {
		t.Errorf("the worker was dialed %d times", n)
	}
	s.startWorker()
	s.once()
	if texts := s.heard(2); !slices.Equal(texts, []string{"echo: for the echo", "You said: for Codex"}) {
		t.Errorf("messages = %q", texts)
	}
}

func TestALongTurnHoldsBackNeitherPollsNorReports(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	prompt := "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	for i := range 3 {
		s.sim.Inject(telegramsim.Incoming{ChatID: chat + 1, Text: fmt.Sprint("quick ", i)})
		if _, err := s.sim.WaitForMessages(waitFor(t), chat+1, i+1); err != nil {
			t.Fatal(err)
		}
		s.eventually("the report of the quick batch", func() bool { return len(s.reports()) == i+1 })
	}
	for _, r := range s.reports() {
		if counted(r) != "1 1 0 0" || r["fetched_count"] != 1.0 || counters(r)["queue_depth"] != 1.0 {
			t.Errorf("report = %v", r)
		}
	}
	s.say("/cancel")
	s.eventually("the report of the long batch", func() bool { return len(s.reports()) == 5 })
	if all := fmt.Sprint(counted(s.reports()[3]), counted(s.reports()[4])); !strings.Contains(all, "0 1 0 1") || !strings.Contains(all, "0 1 0 0") {
		t.Errorf("reports = %v", s.reports()[3:])
	}
}

// TestEvictedSessionsGoOnInTheirThreads has room for one session, which is evicted
// whenever another chat speaks.
func TestEvictedSessionsGoOnInTheirThreads(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil, "CHANNEL_CODEX_SESSION_MAX=1", "CHANNEL_CODEX_SESSION_IDLE_TTL_S=0.05")
	said := map[int64]int{}
	hear := func(chatID int64, text string) string {
		t.Helper()
		s.sim.Inject(telegramsim.Incoming{ChatID: chatID, Text: text})
		said[chatID]++
		messages, err := s.sim.WaitForMessages(waitFor(t), chatID, said[chatID])
		if err != nil {
			t.Fatal(err)
		}
		return messages[len(messages)-1].Text
	}
	for i := range 3 {
		for _, id := range []int64{chat, chat + 1} {
			hear(id, fmt.Sprintf("%d of %d", i, id))
		}
	}
	for _, id := range []int64{chat, chat + 1} {
		answer := hear(id, "recall")
		for i := range 3 {
			if !strings.Contains(answer, fmt.Sprintf("%d of %d", i, id)) {
				t.Errorf("chat %d remembers %q", id, answer)
			}
		}
		if strings.Contains(answer, fmt.Sprintf("of %d", 2*chat+1-id)) {
			t.Errorf("chat %d remembers the other chat: %q", id, answer)
		}
	}
}

func TestNewRunsWhatFollowsItInANewThread(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	for i, text := range []string{"my name is Ada", "/new my name is Bob", "recall"} {
		s.say(text)
		s.heard(i + 1)
	}
	texts := s.heard(3)
	if texts[1] != "You said: my name is Bob" || strings.Contains(texts[2], "Ada") || !strings.Contains(texts[2], "Bob") {
		t.Errorf("messages = %q", texts)
	}
	s.say("/new")
	s.heard(4)
	s.say("recall")
	if texts := s.heard(5); strings.Contains(texts[4], "Bob") {
		t.Errorf("messages = %q", texts)
	}
	for i, want := range []string{"1 1 0 0", "1 1 0 0", "1 1 0 0", "0 1 0 0"} { // the answer to a bare /new is none of Codex's
		s.eventually("reported", func() bool { return len(s.reports()) > i })
		if r := s.reports()[i]; counted(r) != want {
			t.Errorf("report %d = %v", i, r)
		}
	}
}

// TestCyclesAndTheirCursorFile runs the cases of the cursor file through the
// program: what is answered, what is said, and how it exits.
func TestCyclesAndTheirCursorFile(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	broken, blocked := filepath.Join(s.dir, "broken.json"), filepath.Join(s.dir, "blocked.json")
	list := filepath.Join(s.dir, "list.json")
	for path, text := range map[string]string{broken: `{"committed_floor": "x` + "\xff" + `"}`, list: "[]"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const strict = "CHANNEL_STRICT_CURSOR_STATE_IO=true"
	for _, tt := range []struct {
		name                 string
		say                  bool
		env                  []string
		exit                 int
		status, reason, code string
		counted              string
	}{
		{"no file at all", true, []string{"CHANNEL_CURSOR_STATE_PATH="}, 0, "ok", "processed", "", "1 1 0 0"},
		{"nothing is answered again without it", false, []string{"CHANNEL_CURSOR_STATE_PATH="}, 0, "ok", "no-updates", "", "0 0 0 0"},
		{"load error, strict", true, []string{"CHANNEL_CURSOR_STATE_PATH=" + broken, strict}, 1, "failed",
			"runtime-loop-cycle-exception", "runtime-loop-cycle-exception", "0 0 0 1"},
		{"load error", false, []string{"CHANNEL_CURSOR_STATE_PATH=" + broken}, 0, "ok", "completed-with-errors", "cursor-state-load-error", "1 1 0 1"},
		{"load error and no update", false, []string{"CHANNEL_CURSOR_STATE_PATH=" + list}, 0, "ok", "completed-with-errors",
			"cursor-state-load-error", "0 0 0 1"},
		{"mended by the cycle", false, []string{"CHANNEL_CURSOR_STATE_PATH=" + broken, strict}, 0, "ok", "no-updates", "", "0 0 0 0"},
	} {
		if tt.say {
			s.say("hello")
		}
		status, report := s.once(append(tt.env, echoMode)...)
		if status != tt.exit || report["status"] != tt.status || report["reason"] != tt.reason || counted(report) != tt.counted ||
			tt.code != "" && !slices.Equal(codes(report), []string{tt.code}) || counters(report)["queue_depth"] != 0.0 {
			t.Errorf("%s: exit %d, report %v", tt.name, status, report)
		}
	}
	if text, err := os.ReadFile(broken); err != nil || !strings.Contains(string(text), `"version": 1`) {
		t.Errorf("the cursor file is %q, %v", text, err)
	}
	// A directory stands where the file is written before it takes its place.
	if err := os.Mkdir(blocked+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		say                       bool
		exit                      int
		reason, code, counted, on string
	}{
		{true, 0, "completed-with-errors", "cursor-state-save-error", "1 1 0 1", "false"},
		{true, 0, "completed-with-errors", "ack-update-failed", "1 0 0 1", "true"},
		{false, 1, "adapter-fetch-exception", "adapter-fetch-exception", "0 0 0 1", "true"},
	} {
		if tt.say {
			s.say("hello")
		}
		status, report := s.once(echoMode, "CHANNEL_CURSOR_STATE_PATH="+blocked, "CHANNEL_STRICT_CURSOR_STATE_IO="+tt.on)
		if status != tt.exit || report["reason"] != tt.reason || counted(report) != tt.counted || !slices.Contains(codes(report), tt.code) {
			t.Errorf("%s: exit %d, report %v", tt.code, status, report)
		}
	}
}

// TestTheTimersAndCountersMeasure makes Telegram slow and lossy, by amounts that
// the numbers cannot be below.
func TestTheTimersAndCountersMeasure(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.say("one")
	s.sim.Fail(telegramsim.Fault{Method: "getMe", Status: 502})
	s.sim.Fail(telegramsim.Fault{Method: "getUpdates", DelayMS: 60, Reset: true})
	s.sim.Fail(telegramsim.Fault{Method: "getUpdates", DelayMS: 60})
	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", DelayMS: 70, Status: 429, RetryAfter: 1})
	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", DelayMS: 70})
	_, report := s.once()
	timers := report["telemetry"].(map[string]any)["timers_ms"].(map[string]any)
	for name, least := range map[string]float64{"fetch": 60 + 250 + 60, "send": 70 + 70, "cycle_total": 60 + 250 + 60 + 70 + 1000 + 70} {
		if timers[name].(float64) < least {
			t.Errorf("%s took %v ms, which is less than %v", name, timers[name], least)
		}
	}
	if n := counters(report)["retry_total"]; n != 3.0 { // getMe, getUpdates, sendMessage
		t.Errorf("%v retries", n)
	}
}

func TestWhatIsDroppedOrSkippedReachesNobody(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	in := s.say("hello")
	if status, report := s.once("CHANNEL_ALLOWED_CHAT_IDS=999999999"); status != 0 || report["reason"] != "processed" ||
		counted(report) != "0 1 0 0" || report["fetched_count"] != 1.0 || report["dropped_count"] != 1.0 ||
		oneDetail(t, report)["message"] != fmt.Sprintf("dropped update %d: chat_id not allowlisted (%d)", in.UpdateID, chat) {
		t.Errorf("report = %v", report)
	}
	s.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: "from a bot", Bot: true})
	if _, report := s.once(); report["reason"] != "no-updates" || report["fetched_count"] != 0.0 || len(codes(report)) > 0 {
		t.Errorf("report = %v", report)
	}
	// Ids are compared as integers, and one of a drop is not judged again.
	s.say("let in")
	if _, report := s.once("CHANNEL_ALLOWED_CHAT_IDS=01000"); counted(report) != "1 1 0 0" {
		t.Errorf("report = %v", report)
	}
	if texts := s.heard(1); !slices.Equal(texts, []string{"You said: let in"}) || s.sim.State().Pending > 1 {
		t.Errorf("messages = %q", texts)
	}
}

func TestInterruptAndTerminationOfContinuousMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: no signal can be sent to a process on Windows")
	}
	t.Parallel()
	s := newSystem(t)
	for _, tt := range []struct {
		signal os.Signal
		want   int
	}{{os.Interrupt, 130}, {syscall.SIGTERM, 0}} {
		p := s.startGateway(nil, echoMode)
		s.say("hello")
		s.eventually("it serves", func() bool { return len(s.reports()) == 1 })
		process, err := os.FindProcess(p.PID())
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Signal(tt.signal); err != nil {
			t.Fatal(err)
		}
		s.wait("it ends", p.Done())
		if p.Status() != tt.want {
			t.Errorf("%v: status %d, want %d", tt.signal, p.Status(), tt.want)
		}
	}
}
