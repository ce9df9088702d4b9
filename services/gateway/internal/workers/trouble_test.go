package workers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/mtls"
	"telecodex.dev/services/internal/rpc"
)

// edges are the settings of a worker's server and of a gateway's client, with an
// authority that has signed for both.
type edges struct {
	ca     *certtest.Authority
	server rpc.ServerAccess
	client rpc.ClientAccess
}

func newEdges(t *testing.T) *edges {
	ca := certtest.New(t, t.TempDir(), "ca")
	worker := ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "127.0.0.1")
	gateway := ca.Issue(certtest.Client, "gateway", certtest.Tomorrow())
	return &edges{ca,
		rpc.ServerAccess{Prefix: "O_", TLS: mtls.ServerFiles{Cert: worker.Cert, Key: worker.Key, ClientCA: ca.File}},
		rpc.ClientAccess{Prefix: "C_", TLS: mtls.ClientFiles{CA: ca.File, Cert: gateway.Cert, Key: gateway.Key}}}
}

func (e *edges) token(t *testing.T, name, text string) string {
	path := filepath.Join(filepath.Dir(e.ca.File), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve runs a worker and returns its address.
func (e *edges) serve(t *testing.T) string {
	t.Helper()
	options, err := e.server.Options(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(options)
	orchestratorv1.RegisterOrchestratorServiceServer(server, &worker{changed: make(chan struct{}), state: state("a", 1, 0)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func TestWhatIsWrongWithCredentialsIsSaid(t *testing.T) {
	for _, tt := range []struct {
		name, what, mend string
		change           func(t *testing.T, e *edges)
	}{
		{"nothing", "", "", func(*testing.T, *edges) {}},
		{"a worker without TLS", "it speaks no TLS", "ORCHESTRATOR_TLS_CERT_FILE", func(_ *testing.T, e *edges) { e.server.TLS = mtls.ServerFiles{} }},
		{"a gateway without TLS", "as one does that wants TLS", "CHANNEL_ORCHESTRATOR_TLS_CA_FILE", func(_ *testing.T, e *edges) { e.client.TLS = mtls.ClientFiles{} }},
		{"a gateway without a certificate", "it wants a certificate", "CHANNEL_ORCHESTRATOR_TLS_CERT_FILE", func(_ *testing.T, e *edges) { e.client.TLS.Cert, e.client.TLS.Key = "", "" }},
		{"a gateway whose certificate has expired", "which has expired", "without a restart", func(_ *testing.T, e *edges) { e.ca.Issue(certtest.Client, "gateway", certtest.Yesterday()) }},
		{"a gateway of another authority", "an authority that it does not know", "ORCHESTRATOR_TLS_CLIENT_CA_FILE", func(_ *testing.T, e *edges) { e.server.TLS.ClientCA = e.ca.Another("other").File }},
		{"a gateway of another name", "it refuses this gateway's certificate", "ORCHESTRATOR_TLS_CLIENT_NAMES", func(_ *testing.T, e *edges) { e.server.TLS.ClientNames = []string{"x"} }},
		{"a worker whose certificate has expired", "its certificate has expired", "ORCHESTRATOR_TLS_CERT_FILE", func(_ *testing.T, e *edges) { e.ca.Issue(certtest.Server, "worker", certtest.Yesterday(), "127.0.0.1") }},
		{"a worker of another authority", "this gateway does not know", "CHANNEL_ORCHESTRATOR_TLS_CA_FILE", func(_ *testing.T, e *edges) { e.client.TLS.CA = e.ca.Another("other").File }},
		{"a worker at another address", "for another name", "CHANNEL_ORCHESTRATOR_TLS_SERVER_NAME", func(_ *testing.T, e *edges) { e.ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "127.0.0.2") }},
		{"a worker with names alone", "for another name", "subjectAltName", func(_ *testing.T, e *edges) {
			e.ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "worker.example")
		}},
		{"a worker without a name", "for another name", "subjectAltName", func(_ *testing.T, e *edges) { e.ca.Issue(certtest.Server, "worker", certtest.Tomorrow()) }},
		{"a worker of another name", "for another name", "subjectAltName", func(_ *testing.T, e *edges) { e.client.TLS.ServerName = "other.example" }},
		{"no token", "wants one", "CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE", func(t *testing.T, e *edges) { e.server.TokenFile = e.token(t, "a", "a-token-of-the-worker-0") }},
		{"another token", "does not accept this gateway's token", "ORCHESTRATOR_AUTH_TOKEN_FILE", func(t *testing.T, e *edges) {
			e.server.TokenFile, e.client.TokenFile = e.token(t, "a", "a-token-of-the-worker-0"), e.token(t, "b", "another-token-of-a-gateway")
		}},
		{"the same token", "", "", func(t *testing.T, e *edges) {
			e.server.TokenFile = e.token(t, "a", "a-token-of-the-worker-0")
			e.client.TokenFile = e.server.TokenFile
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEdges(t)
			tt.change(t, e)
			address := e.serve(t)
			dial, err := e.client.Options(zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			d := directory(t, workers.Config{Targets: []string{address}, Dial: dial})
			eventually(t, d, "tried", func() bool { return d.Workers()[0].Tried })
			w := d.Workers()[0]
			if w.Reachable != (tt.what == "") || !strings.Contains(w.Trouble.What, tt.what) || !strings.Contains(w.Trouble.Mend, tt.mend) || (tt.what == "") != (w.Trouble.String() == "") {
				t.Errorf("reachable %v: %s", w.Reachable, w.Trouble)
			}
		})
	}
}

// A worker that has gone away, or does not answer, has no trouble with credentials.
func TestOtherErrorsAreNoTrouble(t *testing.T) {
	for _, err := range []error{nil, context.Canceled, errors.New(`rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`)} {
		if trouble, known := workers.TroubleOf(err); known || trouble.String() != "" {
			t.Errorf("%v: %s", err, trouble)
		}
	}
}

// By a name that was looked up, a worker need not have its address in its certificate.
func TestCertificatesHoldTheNameThatIsLookedUp(t *testing.T) {
	e := newEdges(t)
	e.ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "workers.example")
	address := e.serve(t)
	dial, err := e.client.Options(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	resolver := &names{}
	resolver.set(nil, "127.0.0.1")
	d := directory(t, workers.Config{Targets: []string{"dns:///workers.example:" + address[strings.LastIndex(address, ":")+1:]}, Resolver: resolver, Dial: dial})
	eventually(t, d, "reached", func() bool { return answers(d, "a") })
}
