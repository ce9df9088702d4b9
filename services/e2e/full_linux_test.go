package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// limitFiles lets no file of a process grow beyond a size: to it, every disk is
// full.
func limitFiles(t *testing.T, pid int, bytes uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: bytes, Max: ^uint64(0)}
	const rlimitFsize = 1
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), rlimitFsize, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

const unlimited = ^uint64(0)

func TestAFullDiskUnderTheStoreLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil, "CHANNEL_LONG_POLL_S=0", "CHANNEL_POLL_INTERVAL_S=0.1")
	s.say("before")
	s.heard(1)
	prompt := "!scenario slow FAKE_CODEX_DELAY=200\nin between"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	limitFiles(t, s.gateway.PID(), 1)
	s.say("while it is full")
	s.eventually("it is said", func() bool { return strings.Contains(s.gateway.Stderr(), "store failed") })
	limitFiles(t, s.gateway.PID(), unlimited)
	texts := s.heard(3)
	if texts[1] != "You said: in between" || texts[2] != "You said: while it is full" {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs(prompt); started != 1 {
		t.Errorf("the turn ran %d times", started)
	}
}

func TestAFullDiskUnderTheJournalLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("before")
	s.heard(1)
	limitFiles(t, s.worker.PID(), 1)
	s.say("while it is full")
	s.eventually("the worker refuses", func() bool { return strings.Contains(s.gateway.Stderr(), "JOURNAL_UNAVAILABLE") })
	// What Codex would write into its own log meets the same limit; the worker's is a
	// pipe.
	if log := s.worker.Stderr(); strings.Count(log, `"codex started"`) != 1 || strings.Contains(log, "codex could not be started") {
		t.Errorf("Codex was started for a turn that the journal does not hold: %s", log)
	}
	limitFiles(t, s.worker.PID(), unlimited)
	if texts := s.heard(2); texts[1] != "You said: while it is full" {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs("while it is full"); started != 1 || strings.Count(s.worker.Stderr(), `"codex started"`) != 2 {
		t.Errorf("afterwards Codex was started %d times: %s", started, s.worker.Stderr())
	}
}

// TestADiskThatBecomesReadOnlyLosesNothing has the disk of both services refuse every
// write while a turn runs and messages arrive, and then take them again. What cannot be
// journaled is not shown: Codex is stopped, and the person decides about the turn.
func TestADiskThatBecomesReadOnlyLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	s := newSystem(t)
	s.start, d.dirs = d.start, []string{filepath.Join(s.dir, ".channel_runtime"), filepath.Join(s.dir, "worker")}
	s.startWorker()
	s.startGateway(nil, "CHANNEL_LONG_POLL_S=0", "CHANNEL_POLL_INTERVAL_S=0.1")
	s.say("before")
	s.heard(1)
	prompt := "!scenario slow FAKE_CODEX_DELAY=500\nin between"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	d.readOnly.Store(true)
	s.say("while it is read-only")
	s.eventually("the gateway says it", func() bool {
		return strings.Contains(s.gateway.Stderr(), `updates could not be stored; Telegram keeps them","error":"database commit: not writable`)
	})
	s.eventually("the worker says it", func() bool {
		line := regexp.MustCompile(`the journal cannot be written".*"error":"database commit: not writable`)
		return line.MatchString(s.worker.Stderr())
	})
	if texts := s.heard(1); len(texts) != 1 {
		t.Errorf("what is not stored was said: %q", texts)
	}
	d.readOnly.Store(false)
	s.hears("it may have partly run")
	s.say("/again")
	for _, answer := range []string{"You said: in between", "You said: while it is read-only"} {
		s.hears(answer)
		if n := strings.Count(strings.Join(s.heard(1), "\n"), answer); n != 1 {
			t.Errorf("%q is said %d times", answer, n)
		}
	}
	for prompt, want := range map[string]int{"before": 1, prompt: 2, "while it is read-only": 1} {
		if started, _ := s.runs(prompt); started != want {
			t.Errorf("%q ran %d times, want %d", prompt, started, want)
		}
	}
}
