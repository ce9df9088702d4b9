//go:build compose

package compose_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is the repository.
const root = "../../.."

// needEngine skips a test where no container engine with Compose runs.
func needEngine(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"info"}, {"compose", "version"}} {
		if output, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: docker %s: %v: %s(.ci/engine make test-compose brings an engine)", strings.Join(args, " "), err, output)
		}
	}
}

// command runs a program of the repository and returns what it prints.
func command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// must is command for what has to succeed.
func must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	output, err := command(t.Context(), env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// freePort is a port of loopback that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// stack is a project of Compose with a name and ports of its own.
type stack struct {
	t       *testing.T
	project string
	files   []string // as arguments
	env     []string
	gateway string // host:port of its operator API
	sim     simulator
}

func newStack(t *testing.T, project string, chats []string, overlays ...string) *stack {
	t.Helper()
	needEngine(t)
	gateway, telegram := freePort(t), freePort(t)
	s := &stack{t: t, project: project, gateway: "127.0.0.1:" + gateway, sim: simulator{t: t, url: "http://127.0.0.1:" + telegram},
		// Port 0: the engine chooses one for each replica.
		env: []string{"GATEWAY_PORT=" + gateway, "TELEGRAM_PORT=" + telegram, "ORCHESTRATOR_PORTS=0", "CHANNEL_ALLOWED_CHAT_IDS=" + strings.Join(chats, ",")}}
	for _, file := range append([]string{"compose.yaml", "compose.demo.yaml"}, overlays...) {
		s.files = append(s.files, "--file", filepath.Join("deploy", file))
	}
	t.Cleanup(s.remove)
	return s
}

// compose runs a command of Compose on the stack.
func (s *stack) compose(args ...string) string {
	s.t.Helper()
	return must(s.t, s.env, "docker", append(append([]string{"compose", "--project-name", s.project}, s.files...), args...)...)
}

// up starts what is missing, with a number of workers, and waits until it is
// healthy. Without names: every service.
func (s *stack) up(workers int, services ...string) {
	s.t.Helper()
	s.compose(append([]string{"up", "--detach", "--wait", "--no-recreate", "--scale", fmt.Sprintf("orchestrator=%d", workers)}, services...)...)
}

// remove removes everything of the stack, after showing the log of one that
// failed.
func (s *stack) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := append([]string{"compose", "--project-name", s.project}, s.files...)
	if s.t.Failed() {
		logs, err := command(ctx, s.env, "docker", append(args, "logs", "--no-color", "--tail=80")...)
		s.t.Logf("%s%v", logs, err)
	}
	if _, err := command(ctx, s.env, "docker", append(args, "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5")...); err != nil {
		s.t.Error(err)
	}
}

// until waits for a condition, and shows what was there instead.
func (s *stack) until(what string, cond func() (got any, ok bool)) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, ok := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, got)
		}
		s.pause(100 * time.Millisecond)
	}
}

// answer waits until the bot has said something to the person that contains a text.
func (s *stack) answer(chat int64, text string) {
	s.t.Helper()
	s.until("no answer with "+text, func() (any, bool) {
		messages := s.sim.messages(chat)
		for _, message := range messages {
			if strings.Contains(message.Text, text) {
				return messages, true
			}
		}
		return messages, false
	})
}

// running is how many turns the workers run.
func (s *stack) running() (turns int) {
	s.t.Helper()
	err := s.ask(func(ctx context.Context, gateway gatewayv1.GatewayServiceClient) error {
		status, err := gateway.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		for _, worker := range status.GetWorkers() {
			turns += int(worker.GetSlotsUsed())
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return turns
}

// ask calls the gateway.
func (s *stack) ask(question func(context.Context, gatewayv1.GatewayServiceClient) error) error {
	conn, err := harness.Dial(s.gateway)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	return errors.Join(question(ctx, gatewayv1.NewGatewayServiceClient(conn)), conn.Close())
}

// containers are the names of the containers of a service that run.
func (s *stack) containers(service string) []string {
	s.t.Helper()
	return strings.Fields(s.compose("ps", "--format", "{{.Name}}", service))
}

func (s *stack) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.t.Context().Done():
	}
}

// kill ends containers as a power cut would.
func (s *stack) kill(containers ...string) {
	s.t.Helper()
	must(s.t, nil, "docker", append([]string{"kill", "--signal=KILL"}, containers...)...)
}
