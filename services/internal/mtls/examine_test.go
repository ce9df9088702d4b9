package mtls_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/mtls"
)

func TestFilesAreExaminedForAnOperator(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name, finding string
		verdict       checkup.Verdict
		detail        string
		change        func(p *pki)
	}{
		{"a server's names", "tls", checkup.OK, `TLS 1.3 as "127.0.0.1" "worker.example"; clients need a certificate`, func(*pki) {}},
		{"a server that asks for nothing", "tls", checkup.OK, "no client is asked", func(p *pki) { p.server.ClientCA = "" }},
		{"a server without a name", "tls", checkup.Fail, "holds no name of this server", func(p *pki) { p.ca.Issue(certtest.Server, "worker", certtest.Tomorrow()) }},
		{"a server's files that are not there", "tls", checkup.Fail, "ORCHESTRATOR_TLS_CERT_FILE cannot be read", func(p *pki) { p.server.Cert += ".gone" }},
		{"long valid", "tls, validity", checkup.OK, "is valid until", func(p *pki) { p.ca.Issue(certtest.Server, "worker", time.Now().Add(31*day), "x") }},
		{"valid for less than 30 days", "tls, validity", checkup.Warn, "in 28 days", func(p *pki) { p.ca.Issue(certtest.Server, "worker", time.Now().Add(29*day-time.Hour), "x") }},
		{"expired", "tls, validity", checkup.Fail, "expired on", func(p *pki) { p.ca.Issue(certtest.Server, "worker", certtest.Yesterday(), "x") }},
		{"the clients' authority", "tls, clients, validity", checkup.Warn, "expires on", func(*pki) {}}, // the tests' lasts a day
		{"a certificate in the authority's place", "tls, clients", checkup.Warn, "no authority's", func(p *pki) { p.server.ClientCA = p.server.Cert }},
		{"a client's authority", "worker tls, validity", checkup.Warn, "expires on", func(p *pki) { p.client.Cert, p.client.Key = "", "" }},
		{"a client that trusts the system", "worker tls", checkup.OK, "this machine trusts", func(p *pki) { p.client.CA, p.client.Cert, p.client.Key = mtls.SystemRoots, "", "" }},
		{"a client of the servers' authority", "worker tls, authority", checkup.OK, "was signed by", func(*pki) {}},
		{"a client of another authority", "worker tls, authority", checkup.Warn, "was not signed by", func(p *pki) { p.client.CA = p.other().File }},
		{"a client's files that are not there", "worker tls", checkup.Fail, "CHANNEL_ORCHESTRATOR_TLS_CA_FILE cannot be read", func(p *pki) { p.client.CA += ".gone" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			tt.change(&p)
			found := map[string][]checkup.Finding{}
			for _, f := range append(p.server.Examine("tls", time.Now()), p.client.Examine("worker tls", time.Now())...) {
				found[f.Name] = append(found[f.Name], f)
				if f.Verdict != checkup.OK && f.Mend == "" {
					t.Errorf("nothing mends %+v", f)
				}
			}
			for _, f := range found[tt.finding] {
				if f.Verdict == tt.verdict && strings.Contains(f.Detail, tt.detail) {
					return
				}
			}
			t.Errorf("%s: %+v", tt.finding, found)
		})
	}
}

func TestAKeyThatOthersReadIsToldOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: modes say nothing there")
	}
	p := newPKI(t)
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(p.server.Key, mode); err != nil {
			t.Fatal(err)
		}
		told := false
		for _, f := range p.server.Examine("tls", time.Now()) {
			told = told || f.Name == "tls, key" && f.Verdict == checkup.Warn
		}
		if told != want {
			t.Errorf("mode %o: told %v", mode, told)
		}
	}
}

func TestWhatIsNotSetIsNotExamined(t *testing.T) {
	if found := append(mtls.ServerFiles{}.Examine("tls", time.Now()), mtls.ClientFiles{}.Examine("tls", time.Now())...); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
}
