package smoke

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// running counts the processes that run one of this test's programs.
func (b *bench) running() (count int) {
	b.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, link := range links {
		target, _ := os.Readlink(link) // it may be gone, or another user's
		if strings.HasPrefix(target, filepath.Dir(b.program)) || strings.HasPrefix(target, b.dir) {
			count++
		}
	}
	return count
}

// asks waits until the program has asked for a number of messages.
func (b *bench) asks(p *harness.Process, times int) {
	b.t.Helper()
	b.eventually(p, fmt.Sprintf("it asks for message %d", times), func() bool {
		return strings.Count(p.Stdout(), "send this message to the bot") >= times
	})
}

func TestCtrlC(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string // what the person wrote before; empty: nothing
		runs int    // processes by then
	}{
		{"while it waits for the person", "", 1},
		{"while Codex works", "!scenario hang\nx", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			p := b.live(nil)
			b.asks(p, 1)
			if tt.text != "" {
				b.sim.Inject(telegramsim.Incoming{ChatID: chat, UserID: person, Text: tt.text})
				b.eventually(p, "Codex works", func() bool {
					threads, _ := os.ReadDir(filepath.Join(b.dir, "codex_home", "sessions"))
					return len(threads) > 0
				})
			}
			if count := b.running(); count < tt.runs {
				t.Errorf("%d processes run, want %d", count, tt.runs)
			}
			if err := syscall.Kill(p.PID(), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if status := b.ends(p); status != 130 || !strings.Contains(p.Stdout(), "\ninterrupted; ") {
				t.Errorf("status %d\n%s%s", status, p.Stdout(), p.Stderr())
			}
			if count := b.running(); count != 0 {
				t.Errorf("%d processes are left", count)
			}
			if pending := b.sim.State().Pending; pending != 0 {
				t.Errorf("%d messages are left for the bot to run once more", pending)
			}
		})
	}
}
