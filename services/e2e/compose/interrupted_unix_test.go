//go:build compose && unix

package compose_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// interrupted begins make up and sends it Ctrl+C, as a terminal does, once the first
// container is there.
func interrupted(t *testing.T, s *stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "up")
	cmd.Dir, cmd.Env = root, append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for count := 0; count == 0 && ctx.Err() == nil; s.pause(20 * time.Millisecond) {
		count = len(must(t, nil, "docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+demo))
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || ctx.Err() != nil {
		t.Fatalf("make up, interrupted, ends with %v", err)
	}
}

// A start that fails, or that somebody interrupts, is taken up by the next one, or taken
// away by make down.
func TestAStartThatFailsIsTakenUp(t *testing.T) {
	needEngine(t)
	if remains(t, demo) != "" {
		t.Fatal("the demonstration runs already: make down ends it")
	}
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // once more does no harm
	_, telegram, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, project: demo, sim: simulator{t: t, url: "http://" + taken.Addr().String()},
		env: []string{"TELEGRAM_PORT=" + telegram, "GATEWAY_PORT=0", "ORCHESTRATOR_PORTS=0", "OVERLAYS=", "CHANNEL_TOKEN=", "CHANNEL_TOKEN_FILE="}}
	t.Cleanup(func() { madeDown(t) })
	fails := func() {
		t.Helper()
		if output, err := command(t.Context(), s.env, "make", "up"); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("on a port that is taken: %v\n%s", err, output)
		}
		if remains(t, demo) == "" {
			t.Fatal("it has made nothing")
		}
	}
	fails()
	must(t, nil, "make", "down")
	if left := remains(t, demo); left != "" {
		t.Errorf("of a start that failed make down left\n%s", left)
	}

	fails()
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	interrupted(t, s)
	must(t, s.env, "make", "up")
	s.sim.write(123456789, "hello")
	s.answer(123456789, answered+"hello")
	must(t, nil, "make", "down")
	if left := remains(t, demo); left != "" {
		t.Errorf("make down left\n%s", left)
	}
}
