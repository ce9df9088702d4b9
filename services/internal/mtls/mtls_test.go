package mtls_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/credentials"

	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pki is an authority, a server's and a client's files signed by it.
type pki struct {
	ca     *certtest.Authority
	server mtls.ServerFiles
	client mtls.ClientFiles
}

func newPKI(t *testing.T) pki {
	ca := certtest.New(t, t.TempDir(), "ca")
	worker := ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "127.0.0.1", "worker.example")
	gateway := ca.Issue(certtest.Client, "gateway", certtest.Tomorrow(), "gateway.example")
	return pki{ca: ca,
		server: mtls.ServerFiles{Setting: "ORCHESTRATOR_TLS_", Cert: worker.Cert, Key: worker.Key, ClientCA: ca.File},
		client: mtls.ClientFiles{Setting: "CHANNEL_ORCHESTRATOR_TLS_", CA: ca.File, Cert: gateway.Cert, Key: gateway.Key}}
}

// shake shakes hands over a connection and has one side say a word to the other:
// only then a client of TLS 1.3 knows whether the server lets it in.
func shake(t *testing.T, server *mtls.Server, client *mtls.Client, name string) (info credentials.AuthInfo, clientErr, serverErr error) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var raw, conn net.Conn
		if raw, serverErr = lis.Accept(); serverErr != nil {
			return
		}
		defer raw.Close()
		if conn, info, serverErr = server.Credentials().ServerHandshake(raw); serverErr == nil {
			_, serverErr = conn.Write([]byte("!"))
		}
	}()
	raw, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn, _, clientErr := client.Credentials(name).ClientHandshake(t.Context(), "127.0.0.1:1", raw)
	if clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	<-done
	return info, clientErr, serverErr
}

func open(t *testing.T, log *zap.Logger, s mtls.ServerFiles, c mtls.ClientFiles) (*mtls.Server, *mtls.Client) {
	t.Helper()
	server, err := mtls.NewServer(log, s)
	if err != nil {
		t.Fatal(err)
	}
	client, err := mtls.NewClient(log, c)
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestBothSidesKnowEachOther(t *testing.T) {
	p := newPKI(t)
	server, client := open(t, zap.NewNop(), p.server, p.client)
	info, clientErr, serverErr := shake(t, server, client, "")
	if clientErr != nil || serverErr != nil {
		t.Fatalf("client: %v, server: %v", clientErr, serverErr)
	}
	state := info.(credentials.TLSInfo).State
	if names := mtls.Names(state.PeerCertificates[0]); strings.Join(names, " ") != "gateway.example gateway" || state.Version != 0x0304 {
		t.Errorf("the server sees %q, TLS %x", names, state.Version)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	for _, tt := range []struct {
		name         string
		change       func(p *pki)
		dialed       string
		client, says string // of the client's error; of the server's log
	}{
		{name: "a server that has expired", client: "certificate has expired",
			change: func(p *pki) { p.ca.Issue(certtest.Server, "worker", certtest.Yesterday(), "127.0.0.1") }},
		{name: "a server of another authority", client: "signed by unknown authority",
			change: func(p *pki) { p.client.CA = p.other().File }},
		{name: "a server of another name", dialed: "else.example", client: "not else.example", change: func(*pki) {}},
		{name: "a server of another name, by the setting", client: "not set.example",
			change: func(p *pki) { p.client.ServerName = "set.example" }},
		{name: "a client that has expired", client: "expired certificate", says: "has expired",
			change: func(p *pki) { p.ca.Issue(certtest.Client, "gateway", certtest.Yesterday()) }},
		{name: "a client of another authority", client: "unknown certificate authority", says: "of an unknown authority",
			change: func(p *pki) { p.server.ClientCA = p.other().File }},
		{name: "a client without a certificate", client: "certificate required", says: "showed no certificate",
			change: func(p *pki) { p.client.Cert, p.client.Key = "", "" }},
		{name: "a client whose name is not named", client: "bad certificate", says: "the handshake failed",
			change: func(p *pki) { p.server.ClientNames = []string{"other.example"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			tt.change(&p)
			core, logs := observer.New(zap.WarnLevel)
			server, err := mtls.NewServer(zap.New(core), p.server)
			if err != nil {
				t.Fatal(err)
			}
			client, err := mtls.NewClient(zap.NewNop(), p.client)
			if err != nil {
				t.Fatal(err)
			}
			_, clientErr, serverErr := shake(t, server, client, tt.dialed)
			if clientErr == nil || serverErr == nil || !strings.Contains(clientErr.Error(), tt.client) {
				t.Errorf("client: %v, server: %v", clientErr, serverErr)
			}
			why, _ := logs.FilterMessage("a client was refused").All()[0].ContextMap()["why"].(string)
			if !strings.Contains(why, tt.says) {
				t.Errorf("the log says %q", why)
			}
		})
	}
}

// other is an authority that signed nothing.
func (p pki) other() *certtest.Authority {
	return p.ca.Another("other")
}

func TestWhoIsLetIn(t *testing.T) {
	for name, change := range map[string]func(p *pki){
		"a client by its common name":              func(p *pki) { p.server.ClientNames = []string{"gateway"} },
		"a client by its DNS name":                 func(p *pki) { p.server.ClientNames = []string{"x", "gateway.example"} },
		"anybody, where no certificate is asked":   func(p *pki) { p.server.ClientCA, p.client.Cert, p.client.Key = "", "", "" },
		"a server by a name that is set":           func(p *pki) { p.client.ServerName = "worker.example" },
		"a server whose authority is one of two":   func(p *pki) { p.join(p.other().File, p.ca.File) },
		"a client that shows what nobody asks for": func(p *pki) { p.server.ClientCA = "" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPKI(t)
			change(&p)
			server, client := open(t, zap.NewNop(), p.server, p.client)
			if _, clientErr, serverErr := shake(t, server, client, ""); clientErr != nil || serverErr != nil {
				t.Errorf("client: %v, server: %v", clientErr, serverErr)
			}
		})
	}
}

// join makes the client trust the authorities of several files.
func (p *pki) join(files ...string) {
	var all []byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		all = append(all, text...)
	}
	p.client.CA = filepath.Join(filepath.Dir(p.ca.File), "both.pem")
	if err := os.WriteFile(p.client.CA, all, 0o600); err != nil {
		panic(err)
	}
}

// cut takes the end of a file away, as a writer does who has not written it yet.
func cut(path string) {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-40)
	}
	if err != nil {
		panic(err)
	}
}

func TestFilesAndSettingsThatDoNotDo(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(p *pki)
	}{
		{"a certificate without its key", "ORCHESTRATOR_TLS_CERT_FILE and ORCHESTRATOR_TLS_KEY_FILE belong together", func(p *pki) { p.server.Key = "" }},
		{"an authority of clients without a certificate", "ORCHESTRATOR_TLS_CLIENT_CA_FILE is given without ORCHESTRATOR_TLS_CERT_FILE", func(p *pki) { p.server.Cert, p.server.Key = "", "" }},
		{"names of clients without an authority", "ORCHESTRATOR_TLS_CLIENT_NAMES is given without", func(p *pki) { p.server.ClientCA, p.server.ClientNames = "", []string{"x"} }},
		{"a key that is not there", "ORCHESTRATOR_TLS_KEY_FILE cannot be read: open ", func(p *pki) { p.server.Key += ".gone" }},
		{"the key of another certificate", "ORCHESTRATOR_TLS_CERT_FILE and ORCHESTRATOR_TLS_KEY_FILE hold no certificate with its key", func(p *pki) { p.server.Key = p.client.Key }},
		{"a client's certificate for a server", "must name serverAuth", func(p *pki) { p.server.Cert, p.server.Key = p.client.Cert, p.client.Key }},
		{"a key in the place of an authority", "ORCHESTRATOR_TLS_CLIENT_CA_FILE (", func(p *pki) { p.server.ClientCA = p.server.Key }},
		{"a client's key without its certificate", "CHANNEL_ORCHESTRATOR_TLS_CERT_FILE and CHANNEL_ORCHESTRATOR_TLS_KEY_FILE belong together", func(p *pki) { p.client.Cert = "" }},
		{"a client's certificate without an authority", "CHANNEL_ORCHESTRATOR_TLS_CA_FILE must be given too", func(p *pki) { p.client.CA = "" }},
		{"a server's certificate for a client", "must name clientAuth", func(p *pki) { p.client.Cert, p.client.Key = p.server.Cert, p.server.Key }},
		{"an authority that is not there", "CHANNEL_ORCHESTRATOR_TLS_CA_FILE cannot be read: open ", func(p *pki) { p.client.CA += ".gone" }},
		{"an authority that is cut off", "CHANNEL_ORCHESTRATOR_TLS_CA_FILE (", func(p *pki) { p.join(p.ca.File, p.other().File); cut(p.client.CA) }},
		{"a chain that is cut off", "ORCHESTRATOR_TLS_CERT_FILE is cut off", func(p *pki) {
			p.join(p.server.Cert, p.ca.File)
			cut(p.client.CA)
			p.server.Cert, p.client.CA = p.client.CA, p.ca.File
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			tt.change(&p)
			_, err := mtls.NewServer(zap.NewNop(), p.server)
			if err == nil {
				_, err = mtls.NewClient(zap.NewNop(), p.client)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("refused with %v", err)
			}
		})
	}
}

func TestCertificatesArePutInTheirPlace(t *testing.T) {
	p := newPKI(t)
	server, client := open(t, zap.NewNop(), p.server, p.client)
	other := p.other()
	// The other authority takes over: first it is trusted, then it signs.
	p.join(p.ca.File, other.File)
	both, err := os.ReadFile(p.client.CA)
	if err != nil {
		t.Fatal(err)
	}
	certtest.Write(t, p.ca.File, string(both))
	other.Issue(certtest.Client, "gateway", certtest.Tomorrow().Add(time.Hour))
	other.Issue(certtest.Server, "worker", certtest.Tomorrow().Add(time.Hour), "127.0.0.1")
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for time.Until(client.Expires()) < 24*time.Hour || time.Until(server.Expires()) < 24*time.Hour {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the new certificates were never read")
		}
	}
	if _, clientErr, serverErr := shake(t, server, client, ""); clientErr != nil || serverErr != nil {
		t.Errorf("client: %v, server: %v", clientErr, serverErr)
	}
}

// Who has the server's own files is let in, whatever clients need; nobody else is by
// asking the same way.
func TestTheServerItselfIsLetIn(t *testing.T) {
	p := newPKI(t)
	p.server.ClientNames = []string{"nobody"}
	server, err := mtls.NewServer(zap.NewNop(), p.server)
	if err != nil {
		t.Fatal(err)
	}
	self, err := mtls.NewSelf(p.server)
	if err != nil {
		t.Fatal(err)
	}
	if _, clientErr, serverErr := shake(t, server, self, ""); clientErr != nil || serverErr != nil {
		t.Errorf("client: %v, server: %v", clientErr, serverErr)
	}
	other := p.ca.Issue(certtest.Server, "other", certtest.Tomorrow(), "self.telecodex.internal")
	files := p.server
	files.Cert, files.Key = other.Cert, other.Key
	if self, err = mtls.NewSelf(files); err != nil {
		t.Fatal(err)
	}
	if _, clientErr, serverErr := shake(t, server, self, ""); clientErr == nil || serverErr == nil {
		t.Errorf("another server: client: %v, server: %v", clientErr, serverErr)
	}
	impostor, err := mtls.NewServer(zap.NewNop(), files)
	if err != nil {
		t.Fatal(err)
	}
	p.client.ServerName = "self.telecodex.internal"
	client, err := mtls.NewClient(zap.NewNop(), p.client)
	if err != nil {
		t.Fatal(err)
	}
	if _, clientErr, serverErr := shake(t, impostor, client, ""); clientErr == nil || serverErr == nil {
		t.Errorf("a client by the same name: client: %v, server: %v", clientErr, serverErr)
	}
}
