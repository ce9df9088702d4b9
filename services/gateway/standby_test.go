package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/telegramsim"
)

// never is a TTL that no test waits for.
const never = time.Hour

// on is an echo gateway on a store.
func on(t *testing.T, sim *telegramsim.Server, dsn string, ttl time.Duration) (Config, *lines) {
	t.Helper()
	out := &lines{}
	c := echo(t, sim.URL, out)
	c.Store, c.LeaseTTL = dsn, ttl
	return c, out
}

func standsBy(t *testing.T, r *running) {
	t.Helper()
	eventually(t, "it stands by", func() bool { return r.status(t).GetStandby() })
}

func TestTheSecondGatewayStandsByUntilTheFirstReleasesTheBot(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		sim := simulate(t)
		c, out := on(t, sim, dsn, never)
		first := start(t, c, out)
		first.serves(t)
		c, out = on(t, sim, dsn, never)
		second := start(t, c, out)
		standsBy(t, second)
		_, err := second.client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stands by") {
			t.Errorf("ListSessions = %v", err)
		}
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		second.serves(t)
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "who is there"})
		eventually(t, "answered", func() bool { return len(sim.Messages(1000)) == 1 })
		if second.status(t).GetStandby() {
			t.Error("it says that it stands by while it serves")
		}
	})
}

func TestReadinessSaysThatAGatewayStandsBy(t *testing.T) {
	t.Parallel()
	g := newGateway(Config{})
	g.standBy()
	if err := g.ready(); err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("ready() = %v", err)
	}
}

func TestOnceGivesUpWhereAnotherGatewayLives(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		sim := simulate(t)
		c, out := on(t, sim, dsn, 3*time.Second)
		start(t, c, out).serves(t)
		c, _ = on(t, sim, dsn, never) // so that nothing but the first one's beat decides
		c.Once = true
		var held *store.HeldError
		if err := Run(t.Context(), c); !errors.As(err, &held) || !errors.Is(err, ErrCycleFailed) || strings.Contains(err.Error(), "seen") {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestADamagedStoreSaysWhatIsLeftAndWhatToDo(t *testing.T) {
	t.Parallel()
	c, _ := on(t, simulate(t), filepath.Join(t.TempDir(), "gateway.db"), never)
	diary := []byte(strings.Repeat("this is a diary and no database; ", 200))
	if err := os.WriteFile(c.Store, diary, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Once = true
	err := Run(t.Context(), c)
	for _, part := range []string{"nothing was changed", "backup", "cursor file"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing: %v", part, err)
		}
	}
	if now, err := os.ReadFile(c.Store); err != nil || !bytes.Equal(now, diary) {
		t.Errorf("it was changed: %v", err)
	}
}

// Environment of a child that is a gateway.
const (
	childStore = "TELECODEX_TEST_GATEWAY_STORE"
	childAPI   = "TELECODEX_TEST_GATEWAY_API"
	childTTL   = "TELECODEX_TEST_GATEWAY_TTL"
	childDir   = "TELECODEX_TEST_GATEWAY_DIR"
)

// beChild is an echo gateway in a process of its own, until it is killed.
func beChild() int {
	ttl, err := time.ParseDuration(os.Getenv(childTTL))
	if err == nil {
		c := defaults()
		c.Token = func() string { return telegramsim.DefaultToken }
		c.OrchestratorMode, c.APIURL, c.Store, c.LeaseTTL = ModeDefault, os.Getenv(childAPI), os.Getenv(childStore), ttl
		c.CursorStatePath, c.MetricsAddr, c.ListenAddr = "", "", "unix://"+filepath.Join(os.Getenv(childDir), "s")
		err = Run(context.Background(), c)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// child is such a process.
type child struct {
	*running
	cmd   *exec.Cmd
	ended chan string // its last line, once it has ended by itself
}

func spawn(t testing.TB, sim *telegramsim.Server, dsn string, ttl time.Duration) *child {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0]), ended: make(chan string, 1)}
	c.cmd.Env = append(os.Environ(), childStore+"="+dsn, childAPI+"="+sim.URL, childTTL+"="+ttl.String(), childDir+"="+dir)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		last := ""
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			last = lines.Text()
		}
		c.ended <- last
	}()
	conn, err := rpc.Dial("unix://"+filepath.Join(dir, "s"), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.running = &running{client: gatewayv1.NewGatewayServiceClient(conn)}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		_ = c.cmd.Wait()
		if err := errors.Join(conn.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return c
}

// is waits until the child says of itself what it should.
func (c *child) is(t testing.TB, what string, cond func(*gatewayv1.GetStatusResponse) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := c.client.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		return err == nil && cond(s)
	})
}

func serving(s *gatewayv1.GetStatusResponse) bool { return s.GetBotId() != 0 }

func standing(s *gatewayv1.GetStatusResponse) bool { return s.GetStandby() }

func TestADeadHolderOfAFileIsReplacedWithoutWaitingForTheTTL(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	dsn := filepath.Join(t.TempDir(), "gateway.db")
	first := spawn(t, sim, dsn, never)
	first.is(t, "serves", serving)
	second := spawn(t, sim, dsn, never)
	second.is(t, "stands by", standing)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	second.is(t, "serves", serving)
	t.Log(bound.Bound{Unit: "takeover-s", Limit: 2}.Verdict(time.Since(killed).Seconds()))
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	eventually(t, "answered", func() bool { return len(sim.Messages(1000)) == 1 })
}
