package rpc_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/bearer"
	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/mtls"
	"telecodex.dev/services/internal/quota"
	"telecodex.dev/services/internal/rpc"
)

// watched is a worker whose turns say their number whenever the test says so; the one
// that is called so, once.
type watched struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	speak chan uint64
}

func (w *watched) GetTurn(context.Context, *orchestratorv1.GetTurnRequest) (*orchestratorv1.GetTurnResponse, error) {
	return &orchestratorv1.GetTurnResponse{}, nil
}

func (w *watched) WatchTurn(r *orchestratorv1.WatchTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.WatchTurnResponse]) error {
	for speak := w.speak; ; {
		select {
		case n := <-speak:
			if r.GetTurnId() == "once" {
				speak = nil
			}
			event := &orchestratorv1.TurnEvent{Sequence: n}
			if err := stream.Send(&orchestratorv1.WatchTurnResponse{Payload: &orchestratorv1.WatchTurnResponse_Event{Event: event}}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// guarded serves a watched worker and returns its address.
func guarded(t *testing.T, o rpc.ServerOptions) (*watched, string) {
	t.Helper()
	o.Log = zap.NewNop()
	lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, w := rpc.NewServer(o), &watched{speak: make(chan uint64)}
	orchestratorv1.RegisterOrchestratorServiceServer(server, w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w, lis.Addr().String()
}

func dial(t *testing.T, addr string, o rpc.DialOptions) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func getTurn(t *testing.T, conn *grpc.ClientConn) error {
	_, err := orchestratorv1.NewOrchestratorServiceClient(conn).GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{})
	return err
}

func tokenFile(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "token")
	certtest.Write(t, path, text)
	return path
}

const goodToken, badToken = "a-token-that-is-good-0", "a-token-that-is-bad-00"

func TestTokens(t *testing.T) {
	accepted, err := bearer.NewAccepted(zap.NewNop(), "T", tokenFile(t, goodToken))
	if err != nil {
		t.Fatal(err)
	}
	var refusals atomic.Int64
	_, addr := guarded(t, rpc.ServerOptions{Tokens: accepted, Refused: func(reason diagnosticsv1.ErrorReason) {
		if reason == diagnosticsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED {
			refusals.Add(1)
		}
	}})
	defer func() {
		if n := refusals.Load(); n != 4 { // two calls each, with a wrong token and with none
			t.Errorf("%d refusals were counted", n)
		}
	}()
	for name, tt := range map[string]struct {
		shown string
		text  string // of the refusal; empty: let in
	}{
		"the right one": {goodToken, ""},
		"a wrong one":   {badToken, "not one that this server accepts"},
		"none":          {"", "wants a token"},
	} {
		t.Run(name, func(t *testing.T) {
			var o rpc.DialOptions
			if tt.shown != "" {
				if o.Token, err = bearer.NewShown(zap.NewNop(), "T", tokenFile(t, tt.shown)); err != nil {
					t.Fatal(err)
				}
			}
			conn := dial(t, addr, o)
			err := getTurn(t, conn)
			stream, streamErr := orchestratorv1.NewOrchestratorServiceClient(conn).WatchTurn(t.Context(), &orchestratorv1.WatchTurnRequest{})
			if streamErr != nil {
				t.Fatal(streamErr)
			}
			if tt.text == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			_, streamErr = stream.Recv()
			for _, err := range []error{err, streamErr} {
				if status.Code(err) != codes.Unauthenticated || rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("refused with %v, reason %v", err, rpc.ReasonOf(err))
				}
				if strings.Contains(err.Error(), badToken) {
					t.Error("the refusal shows the token")
				}
			}
			if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
				t.Errorf("a health check: %v", err)
			}
		})
	}
}

func TestATokenIsNotShownInTheClear(t *testing.T) {
	token, err := bearer.NewShown(zap.NewNop(), "T", tokenFile(t, goodToken))
	if err != nil {
		t.Fatal(err)
	}
	_, err = rpc.Dial("worker.example:7450", rpc.DialOptions{Token: token})
	if refused := (*rpc.TokenError)(nil); !errors.As(err, &refused) || refused.Target != "worker.example:7450" {
		t.Errorf("dialed: %v", err)
	}
	for _, target := range []string{"127.0.0.1:7450", "[::1]:7450", "localhost:7450", "unix:///run/s", "unix:s", "passthrough:///127.0.0.1:1"} {
		dial(t, target, rpc.DialOptions{Token: token})
	}
}

func TestOneClientDoesNotTakeWhatOthersNeed(t *testing.T) {
	_, addr := guarded(t, rpc.ServerOptions{Limits: quota.Limits{Open: 3}})
	client := orchestratorv1.NewOrchestratorServiceClient(dial(t, addr, rpc.DialOptions{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refused := make(chan error)
	for range 4 {
		stream, err := client.WatchTurn(ctx, &orchestratorv1.WatchTurnRequest{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, err := stream.Recv(); ctx.Err() == nil {
				refused <- err
			}
		}()
	}
	err := <-refused
	if status.Code(err) != codes.ResourceExhausted || rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_CLIENT_LIMIT || rpc.RetryAfter(err) <= 0 {
		t.Errorf("the fourth stream: %v, reason %v, retry after %v", err, rpc.ReasonOf(err), rpc.RetryAfter(err))
	}
	// Health checks have an account of their own.
	if _, err := healthv1.NewHealthClient(dial(t, addr, rpc.DialOptions{})).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("a health check: %v", err)
	}
}

// A gateway has a call open for each of its turns, all on one connection.
func TestAThousandStreamsOfOneClientAreLetIn(t *testing.T) {
	const turns = 1000
	w, addr := guarded(t, rpc.ServerOptions{Limits: quota.Limits{Rate: 1000, Open: turns + 16}})
	client := orchestratorv1.NewOrchestratorServiceClient(dial(t, addr, rpc.DialOptions{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan error, turns)
	for range turns {
		go func() {
			stream, err := client.WatchTurn(ctx, &orchestratorv1.WatchTurnRequest{TurnId: "once"})
			if err == nil {
				_, err = stream.Recv()
			}
			heard <- err
		}()
	}
	for left := turns; left > 0; {
		select {
		case w.speak <- 1: // who hears it stays open
		case err := <-heard:
			if left--; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := getTurn(t, dial(t, addr, rpc.DialOptions{})); err != nil {
		t.Errorf("a call beside them: %v", err)
	}
}

func TestCallsASecondAreBounded(t *testing.T) {
	_, addr := guarded(t, rpc.ServerOptions{Limits: quota.Limits{Rate: 1}})
	conn := dial(t, addr, rpc.DialOptions{})
	var err error
	for range 10 { // faster than one a second
		if err = getTurn(t, conn); err != nil {
			break
		}
	}
	if rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_CLIENT_LIMIT || rpc.RetryAfter(err) <= 0 || rpc.RetryAfter(err) > time.Second {
		t.Errorf("%v, reason %v, retry after %v", err, rpc.ReasonOf(err), rpc.RetryAfter(err))
	}
}

// A connection whose calls are refused all the time is ended: each leaves something
// behind in gRPC until then.
func TestAConnectionThatIsOnlyRefusedIsEnded(t *testing.T) {
	accepted, err := bearer.NewAccepted(zap.NewNop(), "T", tokenFile(t, goodToken))
	if err != nil {
		t.Fatal(err)
	}
	_, addr := guarded(t, rpc.ServerOptions{Tokens: accepted})
	conn := dial(t, addr, rpc.DialOptions{})
	for range 2000 {
		switch err := getTurn(t, conn); status.Code(err) {
		case codes.Unauthenticated:
		case codes.Unavailable:
			return
		default:
			t.Fatal(err)
		}
	}
	t.Error("2,000 refusals on one connection")
}

func TestAMessageThatIsTooLargeIsRefused(t *testing.T) {
	_, addr := guarded(t, rpc.ServerOptions{MaxMessage: 1000})
	client := orchestratorv1.NewOrchestratorServiceClient(dial(t, addr, rpc.DialOptions{}))
	stream, err := client.WatchTurn(t.Context(), &orchestratorv1.WatchTurnRequest{TurnId: strings.Repeat("x", 1001)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
}

func TestReflectionCanBeTurnedOff(t *testing.T) {
	for off, want := range map[bool]codes.Code{false: codes.OK, true: codes.Unimplemented} {
		_, addr := guarded(t, rpc.ServerOptions{NoReflection: off})
		stream, err := reflectionv1.NewServerReflectionClient(dial(t, addr, rpc.DialOptions{})).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
		if err := stream.Send(list); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != want {
			t.Errorf("off: %v: %v", off, err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	}
}

// newTLS is a server's and a client's credentials from an authority's files.
func newTLS(t *testing.T, ca *certtest.Authority) (rpc.ServerOptions, rpc.DialOptions) {
	t.Helper()
	worker := ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "127.0.0.1")
	gateway := ca.Issue(certtest.Client, "gateway", certtest.Tomorrow())
	server, err := mtls.NewServer(zap.NewNop(), mtls.ServerFiles{Cert: worker.Cert, Key: worker.Key, ClientCA: ca.File})
	if err != nil {
		t.Fatal(err)
	}
	client, err := mtls.NewClient(zap.NewNop(), mtls.ClientFiles{CA: ca.File, Cert: gateway.Cert, Key: gateway.Key})
	if err != nil {
		t.Fatal(err)
	}
	return rpc.ServerOptions{TLS: server}, rpc.DialOptions{TLS: client}
}

// serial is the number of the certificate that a server shows to a new connection.
func serial(t *testing.T, addr string, o rpc.DialOptions) string {
	t.Helper()
	conn, err := rpc.Dial(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var p peerOf
	_, err = orchestratorv1.NewOrchestratorServiceClient(conn).GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{}, p.option())
	if err != nil {
		t.Fatal(err)
	}
	return p.serial(t)
}

func TestRotationDropsNoStream(t *testing.T) {
	ca := certtest.New(t, t.TempDir(), "ca")
	serverOptions, dialOptions := newTLS(t, ca)
	w, addr := guarded(t, serverOptions)
	stream, err := orchestratorv1.NewOrchestratorServiceClient(dial(t, addr, dialOptions)).WatchTurn(t.Context(), &orchestratorv1.WatchTurnRequest{})
	if err != nil {
		t.Fatal(err)
	}
	goesOn := func(n uint64) {
		t.Helper()
		w.speak <- n
		if m, err := stream.Recv(); err != nil || m.GetEvent().GetSequence() != n {
			t.Fatalf("the open stream: %v, %v", m, err)
		}
	}
	goesOn(1)
	before := serial(t, addr, dialOptions)
	ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "127.0.0.1")
	ca.Issue(certtest.Client, "gateway", certtest.Tomorrow())
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for serial(t, addr, dialOptions) == before {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("new handshakes never see the new certificate")
		}
	}
	goesOn(2)
	// A file that is broken changes nothing for anybody.
	certtest.Write(t, filepath.Join(filepath.Dir(ca.File), "worker.key"), "broken")
	for range 3 {
		serial(t, addr, dialOptions)
		goesOn(3)
	}
}

func TestPlaintextAndTLSDoNotMix(t *testing.T) {
	serverOptions, dialOptions := newTLS(t, certtest.New(t, t.TempDir(), "ca"))
	_, secured := guarded(t, serverOptions)
	_, plain := guarded(t, rpc.ServerOptions{})
	if err := getTurn(t, dial(t, secured, rpc.DialOptions{})); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "error reading server preface") {
		t.Errorf("a plaintext client: %v", err)
	}
	if err := getTurn(t, dial(t, plain, dialOptions)); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		t.Errorf("a plaintext server: %v", err)
	}
}
