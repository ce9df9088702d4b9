package e2e

import (
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
