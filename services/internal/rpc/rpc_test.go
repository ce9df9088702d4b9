package rpc_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker answers GetTurn by a function of the test.
type worker struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	getTurn func() error
}

func (w worker) GetTurn(context.Context, *orchestratorv1.GetTurnRequest) (*orchestratorv1.GetTurnResponse, error) {
	return &orchestratorv1.GetTurnResponse{}, w.getTurn()
}

func serve(t *testing.T, log *zap.Logger, getTurn func() error) *grpc.ClientConn {
	t.Helper()
	lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: log})
	orchestratorv1.RegisterOrchestratorServiceServer(server, worker{getTurn: getTurn})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Second) }()
	conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestFailureArrivesWithReasonFieldAndRetry(t *testing.T) {
	conn := serve(t, zap.NewNop(), func() error {
		return &rpc.Failure{Code: codes.ResourceExhausted, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL,
			Message: "every slot is taken", RetryAfter: 2 * time.Second}
	})
	_, err := orchestratorv1.NewOrchestratorServiceClient(conn).GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("code of %v", err)
	}
	if got := rpc.ReasonOf(err); got != diagnosticsv1.ErrorReason_ERROR_REASON_WORKER_FULL {
		t.Errorf("reason = %v", got)
	}
	if got := rpc.RetryAfter(err); got != 2*time.Second {
		t.Errorf("retry after %v", got)
	}
}

func TestAFailureWithoutReasonNamesNone(t *testing.T) {
	err := error(&rpc.Failure{Code: codes.NotFound, Message: "no such turn"})
	st := status.Convert(err)
	if st.Code() != codes.NotFound || st.Message() != "no such turn" || len(st.Details()) > 0 {
		t.Errorf("%v, details %v", st, st.Details())
	}
}

func TestReasonsHaveWords(t *testing.T) {
	words := rpc.ReasonWords()
	if len(words) != len(diagnosticsv1.ErrorReason_name)-1 || !slices.Contains(words, "worker_full") || slices.Contains(words, "none") {
		t.Errorf("words = %q", words)
	}
	if word := rpc.ReasonWord(0); word != "none" {
		t.Errorf("no reason is %q", word)
	}
}

func TestErrorWithoutReasonIsUnknown(t *testing.T) {
	for _, err := range []error{errors.New("x"), status.Error(codes.NotFound, "x"), context.Canceled, nil} {
		if got := rpc.ReasonOf(err); got != diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			t.Errorf("reason of %v = %v", err, got)
		}
	}
}

func TestEveryReasonDeclaresAnAction(t *testing.T) {
	values := diagnosticsv1.ErrorReason(0).Descriptor().Values()
	for i := range values.Len() {
		reason := diagnosticsv1.ErrorReason(values.Get(i).Number())
		declared := rpc.ActionOf(reason) != diagnosticsv1.GatewayAction_GATEWAY_ACTION_UNSPECIFIED
		if known := reason != diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED; declared != known {
			t.Errorf("%v: action declared: %v", reason, declared)
		}
	}
}

func TestPanicBecomesInternalWithoutItsValue(t *testing.T) {
	const secret = "PROMPT_DO_NOT_LEAK"
	core, logs := observer.New(zap.DebugLevel)
	conn := serve(t, zap.New(core), func() error { panic(secret) })
	_, err := orchestratorv1.NewOrchestratorServiceClient(conn).GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), secret) {
		t.Errorf("err = %v", err)
	}
	if logs.Len() != 1 {
		t.Fatalf("%d log lines", logs.Len())
	}
	if stack, _ := logs.All()[0].ContextMap()["stack"].(string); strings.Contains(stack, secret) || stack == "" {
		t.Errorf("stack = %q", stack)
	}
}

func TestHealthIsServed(t *testing.T) {
	conn := serve(t, zap.NewNop(), func() error { return nil })
	answer, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health = %v, %v", answer, err)
	}
}

func TestDialIgnoresProxiesOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	conn := serve(t, zap.NewNop(), func() error { return nil })
	if _, err := orchestratorv1.NewOrchestratorServiceClient(conn).GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{}); err != nil {
		t.Fatal(err)
	}
}

func TestCheckPlaintext(t *testing.T) {
	for _, tt := range []struct {
		addr    string
		allowed bool
		ok      bool
	}{
		{"127.0.0.1:7450", false, true},
		{"[::1]:7450", false, true},
		{"localhost:7450", false, true},
		{"unix:///run/telecodex.sock", false, true},
		{"0.0.0.0:7450", false, false},
		{":7450", false, false},
		{"10.0.0.1:7450", false, false},
		{"worker.example:7450", false, false},
		{"0.0.0.0:7450", true, true},
		{"nonsense", false, false},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			err := rpc.CheckPlaintext(tt.addr, "ORCHESTRATOR_", tt.allowed)
			if (err == nil) != tt.ok {
				t.Errorf("CheckPlaintext(%q, %v) = %v", tt.addr, tt.allowed, err)
			}
		})
	}
}

func TestServeOverUnixSocket(t *testing.T) {
	addr := "unix://" + t.TempDir() + "/s"
	lis, err := rpc.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	go func() { done <- server.Serve(ctx, lis, time.Second) }()
	conn, err := rpc.Dial(addr, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	cancel()
	if err := errors.Join(<-done, conn.Close()); err != nil {
		t.Error(err)
	}
}

// Whoever connects and says nothing, be it a port scan or a client that is frozen,
// does not hold up the end of a server.
func TestAServerThatStopsDoesNotWaitForWhoSaysNothing(t *testing.T) {
	t.Parallel()
	secured, _ := newTLS(t, certtest.New(t, t.TempDir(), "ca"))
	for name, o := range map[string]rpc.ServerOptions{"in the clear": {}, "with TLS": secured} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Log = zap.NewNop()
			lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			entered := &attentive{Listener: lis, listens: make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			server := rpc.NewServer(o)
			go func() { done <- server.Serve(ctx, entered, 0) }()
			silent, err := net.Dial("tcp", lis.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			<-entered.listens
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(5 * time.Second): // a handshake may take 10
				t.Error("the server has not stopped")
				<-done
			}
			if n := o.TLS.Refused(); n != 0 {
				t.Errorf("%d are counted as refused", n)
			}
		})
	}
}

// attentive says when its one connection is listened to.
type attentive struct {
	net.Listener
	listens chan struct{}
}

func (a *attentive) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	return &heard{Conn: conn, once: sync.OnceFunc(func() { close(a.listens) })}, err
}

type heard struct {
	net.Conn
	once func()
}

func (h *heard) Read(b []byte) (int, error) {
	h.once()
	return h.Conn.Read(b)
}

func TestListenTakesOverAnAbandonedSocketOnly(t *testing.T) {
	path := t.TempDir() + "/s"
	killed, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Listen(t.Context(), "unix://"+path); err == nil {
		t.Fatal("a socket was taken from the one who listens on it")
	}
	killed.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		lis, err := rpc.Listen(t.Context(), "unix://"+path)
		if err != nil {
			t.Fatal(err)
		}
		if err := lis.Close(); err != nil {
			t.Error(err)
		}
	}
	file := t.TempDir() + "/no-socket"
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Listen(t.Context(), "unix://"+file); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
