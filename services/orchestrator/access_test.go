package orchestrator

import (
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc/test/bufconn"
)

// However many turns may run, one gateway can use all of them, twice for the moment
// after a lost connection.
func TestOneGatewayCanUseTheWholeWorker(t *testing.T) {
	for _, turns := range []int{1, 16, 64, 10_000} {
		o, err := (Config{MaxTurns: turns, Log: zap.NewNop()}).rpcOptions()
		if err != nil || o.Limits.Open < 2*turns+otherCalls {
			t.Errorf("%d turns: %+v, %v", turns, o.Limits, err)
		}
	}
}

// Who calls from the same process is known: no file is read, nothing is counted.
func TestAListenerOfTheCallersNeedsNoAccess(t *testing.T) {
	c := Config{Listener: bufconn.Listen(1), Log: zap.NewNop(), ClientRate: 1, ClientStreams: 1}
	c.Access.TokenFile, c.Access.TLS.Cert, c.Access.TLS.Key = "nowhere", "nowhere", "nowhere"
	o, err := c.rpcOptions()
	if err != nil || o.TLS != nil || o.Tokens != nil || o.Limits.Open != 0 || o.Limits.Rate != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}
