package rpc

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	"telecodex.dev/services/internal/bearer"
	"telecodex.dev/services/internal/mtls"
	"telecodex.dev/services/internal/quota"
)

// healthMethods need no token: who watches over a service need not be trusted with
// its turns.
const healthMethods = "/grpc.health.v1.Health/"

// guard decides about a call by its headers, before its message is read: what is
// refused costs no memory.
type guard struct {
	tokens  *bearer.Accepted // nil: none is asked for
	clients *quota.Clients
	refused func(diagnosticsv1.ErrorReason)
	log     *zap.Logger
	logged  rate.Sometimes
}

func newGuard(o ServerOptions) *guard {
	return &guard{tokens: o.Tokens, clients: quota.New(o.Limits), refused: o.Refused, log: o.Log, logged: rate.Sometimes{First: 10, Interval: 10 * time.Second}}
}

// admit is grpc-go's tap. It runs where the connection is read, and must not wait.
func (g *guard) admit(ctx context.Context, call *tap.Info) (context.Context, error) {
	client := clientOf(ctx)
	known := g.tokens == nil || g.tokens.Holds(call.Header)
	switch {
	case strings.HasPrefix(call.FullMethodName, healthMethods):
		client = "health: " + client
	case known && g.tokens != nil:
		client = "token: " + client
	}
	end, retry, ok := g.clients.Begin(client)
	if !ok {
		return ctx, g.refuse(ctx, client, call, &Failure{Code: codes.ResourceExhausted, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_CLIENT_LIMIT,
			Message: "this client makes too many calls, or has too many open: the call was not looked at", RetryAfter: retry})
	}
	if !known && !strings.HasPrefix(call.FullMethodName, healthMethods) {
		end()
		return ctx, g.refuse(ctx, client, call, unauthenticated(call.Header))
	}
	context.AfterFunc(ctx, end)
	return ctx, nil
}

func unauthenticated(md metadata.MD) *Failure {
	f := &Failure{Code: codes.Unauthenticated, Reason: diagnosticsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED,
		Message: "the token is not one that this server accepts: the call was not looked at"}
	if len(md.Get("authorization")) == 0 {
		f.Message = `this server wants a token ("authorization: Bearer …"): the call was not looked at`
	}
	return f
}

// refuse notes a refusal, a few of many in the log.
func (g *guard) refuse(ctx context.Context, client string, call *tap.Info, f *Failure) error {
	g.refused(f.Reason)
	if p, ok := peer.FromContext(ctx); ok {
		refusedOn(p.Addr)
	}
	g.logged.Do(func() {
		g.log.Warn("call refused", zap.String("client", client), zap.String("method", call.FullMethodName), zap.String("reason", ReasonName(f.Reason)))
	})
	return f.GRPCStatus().Err()
}

// clientOf is what calls are counted by: the name in the client's certificate, else
// where it comes from.
func clientOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "unknown"
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
		if names := mtls.Names(info.State.PeerCertificates[0]); len(names) > 0 {
			return "certificate: " + names[0]
		}
	}
	return hostOf(p.Addr)
}
