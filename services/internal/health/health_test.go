package health_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"telecodex.dev/services/internal/health"
	"telecodex.dev/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server until the test ends.
func serve(t *testing.T, addr string) (at string, server *rpc.Server) {
	t.Helper()
	lis, err := rpc.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	server = rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String(), server
}

func expect(t *testing.T, addr string, exit int, want string) {
	t.Helper()
	var out bytes.Buffer
	if got := health.Check(t.Context(), "worker", addr, rpc.DialOptions{}, &out); got != exit || !strings.Contains(out.String(), want) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%s: status %d, %q; want %d, %q", addr, got, out.String(), exit, want)
	}
}

func TestItAsksWhereverTheServiceListens(t *testing.T) {
	addr, server := serve(t, "127.0.0.1:0")
	expect(t, addr, 0, "worker at "+addr+" serves")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, everywhere := range []string{"0.0.0.0:" + port, ":" + port} {
		expect(t, everywhere, 0, "worker at "+addr+" serves")
	}
	server.SetServing(false)
	expect(t, addr, 1, "NOT_SERVING")

	socket := "unix://" + filepath.Join(t.TempDir(), "s")
	serve(t, socket)
	expect(t, socket, 0, "worker at "+socket+" serves")
}

func TestItSaysWhyThereIsNoAnswer(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, free, 1, "worker at "+free+" does not serve: ")
	expect(t, "", 1, "it has no listener")
	expect(t, "127.0.0.1:0", 1, "its port is chosen by the system")
	expect(t, "nonsense", 1, "missing port")
	expect(t, "unix://"+filepath.Join(t.TempDir(), "none"), 1, "does not serve")
}
