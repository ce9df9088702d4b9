package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/bound"
)

// BenchmarkWorkers is how throughput grows with workers: turns of a second, sixteen
// slots to a worker, a chat for each slot, each of which writes sixteen messages at
// once. What one worker does is the measure of the others. Codex is a script, since
// all of them share the processors of one machine; what is left of linear growth when
// nothing but those scripts runs is reported beside it.
func BenchmarkWorkers(b *testing.B) {
	const slots, each = 16, 16
	codex := filepath.Join(b.TempDir(), "codex")
	if err := os.WriteFile(codex, []byte(strings.Replace(instant, "prompt=\n", "sleep 1\nprompt=\n", 1)), 0o755); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		alone, bareAlone := 0.0, 0.0
		for _, workers := range []int{1, 2, 4} {
			chats := workers * slots
			s := start(b, settings{chats: chats, slots: slots, codex: codex, workers: workers})
			s.reached(b, workers)
			before := ticks(b, s.gateway.PID())
			began := time.Now()
			s.say(chats*each, "hello")
			messages := s.answered(b, chats*each)
			rate := float64(chats*each) / messages[chats*each-1].At.Sub(began).Seconds()
			used := ticks(b, s.gateway.PID()) - before
			bareRate := bare(b, codex, chats, each)
			if alone == 0 {
				alone, bareAlone = rate, bareRate
			}
			b.ReportMetric(bareRate/bareAlone/float64(workers), fmt.Sprintf("bare-x-linear-%d", workers))
			b.ReportMetric(rate, fmt.Sprintf("turns/s-%d", workers))
			b.ReportMetric(used.Seconds()*1000/float64(chats*each), fmt.Sprintf("gateway-cpu-s/1000-turns-%d", workers))
			b.ReportMetric(megabytes(rss(b, s.gateway.PID())), fmt.Sprintf("gateway-MB-%d", workers))
			bound.Bound{Unit: fmt.Sprintf("x-linear-%d", workers), Limit: 0.95, Least: true}.Report(b, rate/alone/float64(workers))
			bound.Bound{Unit: fmt.Sprintf("spread-%d", workers), Limit: 1}.Report(b, float64(s.spread(b, workers)))
			s.stop(b)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// bare runs scripts without the bridge, a number of them at once, each so many times,
// and returns how many end in a second.
func bare(b *testing.B, codex string, atOnce, each int) float64 {
	b.Helper()
	began := time.Now()
	var group errgroup.Group
	for range atOnce {
		group.Go(func() error {
			for range each {
				cmd := exec.CommandContext(b.Context(), codex)
				cmd.Stdin = strings.NewReader("hello")
				if output, err := cmd.Output(); err != nil || !strings.Contains(string(output), "You said: hello") {
					return fmt.Errorf("the script says %q: %w", output, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return float64(atOnce*each) / time.Since(began).Seconds()
}

// waiting is a Codex that says who it is, and answers when somebody opens the pipe
// beside it for writing: as many turns run as there are, and cost nothing meanwhile.
const waiting = `#!/bin/sh
case $1 in --version)
	echo 'codex-cli 0.169.0'
	exit
	;;
esac
while IFS= read -r line; do :; done
read -r thread </proc/sys/kernel/random/uuid
printf '%%s\n' "{\"type\":\"thread.started\",\"thread_id\":\"$thread\"}" '{"type":"turn.started"}'
read -r line <%s
printf '%%s\n' '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"You said: hello"}}' \
	'{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":5,"output_tokens":3}}'
`

// BenchmarkThousandTurns has a thousand turns run at once, at eight workers, under one
// gateway: how long it takes until all run, what the gateway holds then, and
// what it has worked when all are answered.
func BenchmarkThousandTurns(b *testing.B) {
	const turns, workers, slots = 1000, 8, 140
	for b.Loop() {
		dir := b.TempDir()
		pipe, codex := filepath.Join(dir, "pipe"), filepath.Join(dir, "codex")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(codex, fmt.Appendf(nil, waiting, pipe), 0o755); err != nil {
			b.Fatal(err)
		}
		s := start(b, settings{chats: turns, slots: slots, workers: workers, codex: codex})
		s.reached(b, workers)
		idle, before := rss(b, s.gateway.PID()), ticks(b, s.gateway.PID())
		began := time.Now()
		s.say(turns, "hello")
		s.status(b, "a thousand turns run", func(r *gatewayv1.GetStatusResponse) bool {
			running := 0
			for _, w := range r.GetWorkers() {
				running += int(w.GetSlotsUsed())
			}
			return r.GetRunningCount() == turns && running == turns
		})
		b.ReportMetric(time.Since(began).Seconds(), "s-until-all-run")
		bound.Bound{Unit: "spread", Limit: 1}.Report(b, float64(s.spread(b, workers)))
		rest(b, idleAfter)
		b.ReportMetric(megabytes(rss(b, s.gateway.PID())), "gateway-MB")
		b.ReportMetric(float64(rss(b, s.gateway.PID())-idle)/turns/kib, "gateway-KiB/turn")
		released := time.Now()
		stop := release(b, pipe)
		s.answered(b, turns)
		stop()
		b.ReportMetric(time.Since(released).Seconds(), "s-until-all-answered")
		b.ReportMetric((ticks(b, s.gateway.PID()) - before).Seconds(), "gateway-cpu-s/1000-turns")
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
}

// release holds the pipe open, and writes a line for each turn.
func release(b *testing.B, pipe string) (stop func()) {
	b.Helper()
	file, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if _, err := file.WriteString("\n"); err != nil {
				return
			}
		}
	}()
	return func() { _ = file.Close(); <-done }
}

// status waits until the gateway says of itself what is waited for.
func (s *system) status(b *testing.B, what string, cond func(*gatewayv1.GetStatusResponse) bool) {
	b.Helper()
	conn, err := harness.Dial(s.operator)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	s.await(b, what, func(ctx context.Context) error {
		for {
			r, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(ctx, &gatewayv1.GetStatusRequest{})
			if err == nil && cond(r) {
				return nil
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return fmt.Errorf("%w: %.500v, %w", ctx.Err(), r, err)
			}
		}
	})
}

func (s *system) reached(b *testing.B, workers int) {
	b.Helper()
	s.status(b, "the workers are reached", func(r *gatewayv1.GetStatusResponse) bool {
		n := 0
		for _, w := range r.GetWorkers() {
			if w.GetReachable() {
				n++
			}
		}
		return n == workers
	})
}

// spread is by how many sessions the workers differ, at most.
func (s *system) spread(b *testing.B, workers int) int {
	b.Helper()
	conn, err := harness.Dial(s.operator)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r, err := gatewayv1.NewGatewayServiceClient(conn).ListSessions(b.Context(), &gatewayv1.ListSessionsRequest{PageSize: 1000})
	if err != nil {
		b.Fatal(err)
	}
	held := map[string]int{}
	for _, session := range r.GetSessions() {
		held[session.GetWorkerId()]++
	}
	least, most := len(r.GetSessions()), 0
	for _, n := range held {
		least, most = min(least, n), max(most, n)
	}
	if len(held) != workers {
		least = 0
	}
	return most - least
}
