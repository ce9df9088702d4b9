package observe

import (
	"io"
	"net"
	"testing"
	"time"

	"telecodex.dev/services/internal/certtest"
)

// Every certificate that the services show is watched until its end, and one that is
// put in its place is, too.
func TestTheEndOfEveryCertificateIsShown(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, t.TempDir(), "ca")
	until := func(days int) time.Time {
		return time.Now().Add(time.Duration(days) * 24 * time.Hour).Truncate(time.Second)
	}
	worker, gateway := until(3), until(5)
	server := ca.Issue(certtest.Server, "worker", worker, "127.0.0.1")
	client := ca.Issue(certtest.Client, "gateway", gateway)
	s := newSystem(t, "ORCHESTRATOR_TLS_CERT_FILE="+server.Cert, "ORCHESTRATOR_TLS_KEY_FILE="+server.Key, "ORCHESTRATOR_TLS_CLIENT_CA_FILE="+ca.File,
		"CHANNEL_ORCHESTRATOR_TLS_CA_FILE="+ca.File, "CHANNEL_ORCHESTRATOR_TLS_CERT_FILE="+client.Cert, "CHANNEL_ORCHESTRATOR_TLS_KEY_FILE="+client.Key)
	s.run(s.worker, s.gateway)
	shows := func(p *service, name, use string, want float64) func() bool {
		return func() bool {
			families, ok := p.scrape()
			return ok && value(families, "telecodex_"+name+"_certificate_expires_timestamp_seconds", "use", use) == want
		}
	}
	s.eventually("the worker's", shows(s.worker, "orchestrator", "server", float64(worker.Unix())))
	s.eventually("the gateway's, for workers", shows(s.gateway, "gateway", "client", float64(gateway.Unix())))
	s.eventually("it has none for operators", shows(s.gateway, "gateway", "server", 0))
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil { // a stranger, who speaks no TLS
		t.Error(err)
	}
	s.eventually("a stranger's handshake is counted, and no other", func() bool {
		families, ok := s.worker.scrape()
		return ok && value(families, "telecodex_orchestrator_tls_handshakes_refused_total") == 1
	})
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	renewed := until(9)
	ca.Issue(certtest.Server, "worker", renewed, "127.0.0.1")
	s.eventually("a new one", shows(s.worker, "orchestrator", "server", float64(renewed.Unix())))
}
