package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"telecodex.dev/services/internal/bound"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// idleAfter is how long a program does nothing before it counts as idle.
const idleAfter = 5 * time.Second

// BenchmarkIdleMemory is what each service holds when nothing is to be done:
// after its first message, and after 200 more.
func BenchmarkIdleMemory(b *testing.B) {
	for b.Loop() {
		s := start(b, settings{chats: 20, slots: 16, scenario: "echo"})
		s.warm(b)
		bound.Bound{Unit: "gateway-MB", Limit: 40}.Report(b, megabytes(rss(b, s.gateway.PID())))
		bound.Bound{Unit: "orchestrator-MB", Limit: 40}.Report(b, megabytes(rss(b, s.worker.PID())))
		s.say(200, "hello")
		s.answered(b, 201)
		rest(b, idleAfter)
		b.ReportMetric(megabytes(rss(b, s.gateway.PID())), "gateway-later-MB")
		b.ReportMetric(megabytes(rss(b, s.worker.PID())), "orchestrator-later-MB")
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTurnMemory is what a running turn holds beyond Codex itself: what
// both services grow by, and what is private to a process that contains Codex.
func BenchmarkTurnMemory(b *testing.B) {
	const turns = 64
	for b.Loop() {
		s := start(b, settings{chats: turns, slots: turns, scenario: "echo"})
		s.warm(b)
		gateway, worker := s.gateway.PID(), s.worker.PID()
		idle := [2]int{rss(b, gateway), rss(b, worker)}
		s.say(turns, "!scenario hang\nhello")
		containers := s.containers(b, turns)
		rest(b, idleAfter)
		services := rss(b, gateway) - idle[0] + rss(b, worker) - idle[1]
		shims := 0
		for _, pid := range containers {
			if name(b, pid) != "fakecodex" { // else Codex itself is all there is
				shims += private(b, pid)
			}
		}
		b.ReportMetric(float64(rss(b, gateway)-idle[0])/turns/kib, "gateway-KiB/turn")
		b.ReportMetric(float64(rss(b, worker)-idle[1])/turns/kib, "orchestrator-KiB/turn")
		b.ReportMetric(float64(shims)/turns/kib, "container-KiB/turn")
		bound.Bound{Unit: "KiB/turn", Limit: 256}.Report(b, float64(services+shims)/turns/kib)
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHugeLineMemory is what the longest line that Codex may write costs on
// its way: at the most, and a minute later.
func BenchmarkHugeLineMemory(b *testing.B) {
	const (
		line = 16 * mib
		text = line * 97 / 100 // escapes and the event around it take the rest
	)
	for b.Loop() {
		s := start(b, settings{chats: 1, slots: 16, scenario: "echo"})
		s.warm(b)
		idle := map[string]int{}
		pids := map[string]int{"gateway": s.gateway.PID(), "orchestrator": s.worker.PID()}
		for name, pid := range pids {
			idle[name] = rss(b, pid)
			forgetPeak(b, pid)
		}
		s.say(1, fmt.Sprintf("!scenario huge_line FAKE_CODEX_BYTES=%d\nhello", text))
		messages := s.heard(b, 3)
		if document := messages[2].Document; document == nil || len(document.Content) != text {
			b.Fatalf("the answer did not arrive whole: %.200q", messages[2].Text)
		}
		for name, pid := range pids {
			bound.Bound{Unit: name + "-times-line", Limit: 6}.Report(b, float64(peak(b, pid)-idle[name])/line)
		}
		rest(b, time.Minute)
		for name, pid := range pids {
			bound.Bound{Unit: name + "-times-idle", Limit: 2}.Report(b, float64(rss(b, pid))/float64(idle[name]))
		}
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
}

// warm lets the first message through, which builds what is built once.
func (s *system) warm(b *testing.B) {
	b.Helper()
	s.say(1, "hello")
	s.answered(b, 1)
	rest(b, idleAfter)
}

// containers waits until the worker runs so many turns, and returns the process
// it has started for each: Codex, or one that contains it.
func (s *system) containers(b *testing.B, turns int) (pids []int) {
	b.Helper()
	s.await(b, "all turns run", func(ctx context.Context) error {
		look := time.NewTicker(100 * time.Millisecond)
		defer look.Stop()
		for {
			if pids = children(b, s.worker.PID()); len(pids) == turns {
				return nil
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return pids
}

// rest lets time pass: what is measured is what has become of memory by then.
func rest(b *testing.B, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.Context().Done():
	}
}

func megabytes(n int) float64 { return float64(n) / 1e6 }
