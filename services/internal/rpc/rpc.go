// Package rpc builds every gRPC server, client and listener of Telecodex, so
// that health, reflection, keepalive, limits, panics and refusals look the same
// everywhere, and turns failures into statuses with a reason and back.
package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	"telecodex.dev/services/internal/bearer"
	"telecodex.dev/services/internal/mtls"
	"telecodex.dev/services/internal/quota"
)

// MaxMessage is the largest message a server or client accepts: 16 MiB.
const MaxMessage = 16 << 20

const (
	// maxHeaders bounds what a call's headers weigh, in bytes.
	maxHeaders = 64 << 10
	// handshakeTimeout is how long a connection may take to become one.
	handshakeTimeout = 10 * time.Second
	spareStreams     = 64
)

// What a client takes in, in bytes, of messages that nobody has read yet.
const (
	streamWindow = 256 << 10
	connWindow   = 4 << 20
)

// Server is a gRPC server with health and reflection.
type Server struct {
	*grpc.Server
	health  *health.Server
	log     *zap.Logger
	refused func(diagnosticsv1.ErrorReason)
}

// ServerOptions say what a server is besides the services registered on it.
type ServerOptions struct {
	Log          *zap.Logger
	TLS          *mtls.Server     // nil: plaintext
	Tokens       *bearer.Accepted // nil: calls need none; health checks never do
	Limits       quota.Limits     // of each client
	NoReflection bool
	MaxMessage   int // largest request, in bytes; 0: MaxMessage
	// Refused is told of every call that fails with a reason, before or after it was
	// looked at; nil: nobody is. It must not block.
	Refused func(diagnosticsv1.ErrorReason)
}

// NewServer returns a server; services are registered on it before Serve.
func NewServer(o ServerOptions) *Server {
	if o.Refused == nil {
		o.Refused = func(diagnosticsv1.ErrorReason) {}
	}
	s := &Server{health: health.NewServer(), log: o.Log, refused: o.Refused}
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(cmp.Or(o.MaxMessage, MaxMessage)),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.InTapHandle(newGuard(o).admit), grpc.StatsHandler(contexts{}),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		// No MaxConnectionAge: it would cut the streams of long turns.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.ChainUnaryInterceptor(s.recoverUnary),
		grpc.ChainStreamInterceptor(s.recoverStream),
	}
	if o.TLS != nil {
		opts = append(opts, grpc.Creds(o.TLS.Credentials()))
	}
	if o.Limits.Open > 0 {
		// More than a client may have open: who has too many is told so, and does not
		// wait without knowing for what.
		opts = append(opts, grpc.MaxConcurrentStreams(uint32(o.Limits.Open)+spareStreams))
	}
	s.Server = grpc.NewServer(opts...)
	healthv1.RegisterHealthServer(s.Server, s.health)
	if !o.NoReflection {
		reflection.Register(s.Server)
	}
	return s
}

// Serve serves until the context ends, then stops in order: health says
// NOT_SERVING, running calls get grace to end, what is left is cut, and every
// handler has returned when Serve does.
func (s *Server) Serve(ctx context.Context, lis net.Listener, grace time.Duration) error {
	stopped, entrance := make(chan struct{}), newDoor(lis)
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.health.Shutdown()
		entrance.endSilent()
		cut := time.AfterFunc(grace, s.Stop)
		s.GracefulStop()
		cut.Stop()
	})
	err := s.Server.Serve(entrance)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, grpc.ErrServerStopped) || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// SetServing says whether the server takes work, for health checks.
func (s *Server) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
}

func (s *Server) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	defer s.count(&err)
	defer s.recovered(info.FullMethod, &err)
	return next(ctx, req)
}

func (s *Server) recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer s.count(&err)
	defer s.recovered(info.FullMethod, &err)
	return next(srv, ss)
}

// count counts a call that was refused.
func (s *Server) count(err *error) {
	if reason := ReasonOf(*err); reason != diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		s.refused(reason)
	}
}

// recovered turns a panic into INTERNAL. The panic's value is not logged: it may
// quote content; the stack names functions and lines only.
func (s *Server) recovered(method string, err *error) {
	if p := recover(); p != nil {
		s.log.Error("handler panicked", zap.String("method", method), zap.ByteString("stack", debug.Stack()))
		*err = status.Error(codes.Internal, "internal error")
	}
}

// Dialer opens a connection to an address; nil means the network.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// DialOptions say how a client reaches its server.
type DialOptions struct {
	Dialer     Dialer        // nil: the network
	TLS        *mtls.Client  // nil: plaintext
	ServerName string        // in the server's certificate; empty: as TLS says, else the name that is dialed
	Token      *bearer.Shown // nil: none is shown
}

// TokenError refuses to show a token where others on the network could read it.
type TokenError struct{ Target string }

func (e *TokenError) Error() string {
	return fmt.Sprintf("the token would cross the network to %s in the clear: use TLS", e.Target)
}

// Dial returns a client of the server at target ("host:port", "unix://path" or
// any gRPC target). It does not connect yet. Proxies of the environment are not
// used: they are meant for Telegram, and grpc-go would CONNECT through them. Errors:
// *TokenError; those of gRPC about the target.
func Dial(target string, o DialOptions) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		// No retries by configuration. grpc-go still repeats a call by itself when
		// the server did not process its stream; even for RunTurn that is safe, as
		// the same turn id attaches to the turn that runs.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		// Fixed windows: else each turn's events set off pings that measure the
		// connection. One stream that is not read leaves room for the others.
		grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
	}
	if o.TLS != nil {
		opts = append(opts, grpc.WithTransportCredentials(o.TLS.Credentials(o.ServerName)))
	}
	if o.Token != nil {
		local := o.Dialer != nil || Local(strings.TrimPrefix(target, "passthrough:///"))
		if !local && o.TLS == nil {
			return nil, &TokenError{Target: target}
		}
		opts = append(opts, grpc.WithPerRPCCredentials(o.Token.Credentials(local)))
	}
	if o.Dialer != nil {
		opts = append(opts, grpc.WithContextDialer(o.Dialer))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// PlaintextError refuses a listener that would show prompts and answers to the
// network.
type PlaintextError struct{ Addr, Prefix string }

func (e *PlaintextError) Error() string {
	return fmt.Sprintf("%s is reachable from other machines and the connection is not encrypted: "+
		"listen on 127.0.0.1, give a certificate (%sTLS_CERT_FILE), or set %sINSECURE=true where the network is trusted", e.Addr, e.Prefix, e.Prefix)
}

// CheckPlaintext refuses an address beyond loopback: everything but unix://,
// localhost and IP literals of the loopback range. prefix begins the names of the
// settings that allow it.
func CheckPlaintext(addr, prefix string, allowed bool) error {
	if allowed || Local(addr) {
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("listen address %q must be host:port or unix://path", addr)
	}
	return &PlaintextError{Addr: addr, Prefix: prefix}
}

// Local says whether what is sent to an address stays on this machine: unix:path,
// localhost and IP literals of the loopback range do, with a port.
func Local(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Listen opens a listener for "host:port" or "unix://path".
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	var config net.ListenConfig
	lis, err := config.Listen(ctx, network, address)
	if err != nil && network == "unix" && abandoned(ctx, address) && os.Remove(address) == nil {
		lis, err = config.Listen(ctx, network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return lis, nil
}

// abandoned says whether nobody listens on a socket that exists: a process that
// was killed leaves its socket behind, and must be able to start again.
// Windows does not say that such a connection was refused: there it stays.
func abandoned(ctx context.Context, path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
