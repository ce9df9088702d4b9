package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/checkup"
)

// ExpiresSoon is how long before its end a certificate is warned of.
const ExpiresSoon = 30 * 24 * time.Hour

// Examine looks at the files as a server would use them.
func (f ServerFiles) Examine(name string, now time.Time) []checkup.Finding {
	if !f.Enabled() {
		return nil
	}
	server, err := NewServer(zap.NewNop(), f)
	if err != nil {
		return []checkup.Finding{checkup.Broken(name, err.Error(), "make them again as docs/SECURITY.md shows, or name others")}
	}
	leaf := server.files.Get().config.Certificates[0].Leaf
	found := []checkup.Finding{f.named(name, leaf), expiry(name, f.Cert, leaf, now)}
	if f.ClientCA != "" {
		found = append(found, bundle(name+", clients", f.ClientCA, now))
	}
	return append(found, checkup.Secret(name+", key", f.Key)...)
}

// named says by which names clients can know the server.
func (f ServerFiles) named(name string, leaf *x509.Certificate) checkup.Finding {
	var names []string
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	names = append(names, leaf.DNSNames...)
	clients := "no client is asked for a certificate"
	if f.ClientCA != "" {
		clients = "clients need a certificate"
	}
	if len(names) == 0 {
		return checkup.Broken(name, f.Cert+" holds no name of this server (subjectAltName): no client accepts it", "make one with the names and addresses that clients dial")
	}
	return checkup.Well(name, "TLS 1.3 as %s; %s", quoted(names), clients)
}

func quoted(names []string) string {
	text := fmt.Sprintf("%q", names)
	return text[1 : len(text)-1]
}

// Examine looks at the files as a client would use them.
func (f ClientFiles) Examine(name string, now time.Time) []checkup.Finding {
	if !f.Enabled() {
		return nil
	}
	client, err := NewClient(zap.NewNop(), f)
	if err != nil {
		return []checkup.Finding{checkup.Broken(name, err.Error(), "make them again as docs/SECURITY.md shows, or name others")}
	}
	var found []checkup.Finding
	if f.CA == SystemRoots {
		found = append(found, checkup.Well(name, "servers of the authorities that this machine trusts are trusted"))
	} else {
		found = append(found, bundle(name, f.CA, now))
	}
	if f.Cert == "" {
		return found
	}
	config := client.files.Get().config
	return append(append(found, expiry(name, f.Cert, config.Certificates[0].Leaf, now), f.signed(name, config)),
		checkup.Secret(name+", key", f.Key)...)
}

// signed compares the own certificate with the servers' authorities: mostly one
// authority vouches for both sides.
func (f ClientFiles) signed(name string, config *tls.Config) checkup.Finding {
	own := config.Certificates[0]
	between := x509.NewCertPool()
	for _, raw := range own.Certificate[1:] {
		if cert, err := x509.ParseCertificate(raw); err == nil {
			between.AddCert(cert)
		}
	}
	_, err := own.Leaf.Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: between, CurrentTime: own.Leaf.NotAfter,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return checkup.Doubtful(name+", authority", f.Cert+" was not signed by the authorities in "+f.CA,
			"right only where the servers' "+"CLIENT_CA_FILE names another authority; else sign it with theirs")
	}
	return checkup.Well(name+", authority", "%s was signed by an authority in %s", f.Cert, f.CA)
}

// expiry says how long a certificate is valid.
func expiry(name, path string, cert *x509.Certificate, now time.Time) checkup.Finding {
	name += ", validity"
	const mend = "put a new one in its place: it is read without a restart"
	until := cert.NotAfter.UTC().Format("2006-01-02 15:04 UTC")
	switch left := cert.NotAfter.Sub(now); {
	case left <= 0:
		return checkup.Broken(name, path+" expired on "+until, mend)
	case now.Before(cert.NotBefore):
		return checkup.Broken(name, path+" is not valid before "+cert.NotBefore.UTC().Format("2006-01-02 15:04 UTC"), "set the clock (NTP), or wait")
	case left < ExpiresSoon:
		return checkup.Doubtful(name, fmt.Sprintf("%s expires on %s, in %d days", path, until, left/(24*time.Hour)), mend)
	}
	return checkup.Well(name, "%s is valid until %s", path, until)
}

// bundle looks at a file of authorities: the one that ends first is judged.
func bundle(name, path string, now time.Time) checkup.Finding {
	text, err := os.ReadFile(path)
	if err != nil {
		return checkup.Broken(name, err.Error(), "let this user read it")
	}
	certs := certificates(text)
	if len(certs) == 0 {
		return checkup.Broken(name, path+" holds no certificate", "put the authority's certificate there (PEM)")
	}
	first := certs[0]
	for _, cert := range certs {
		if !cert.IsCA {
			return checkup.Doubtful(name, path+" holds a certificate that is no authority's", "put the authority's certificate there, not the other side's")
		}
		if cert.NotAfter.Before(first.NotAfter) {
			first = cert
		}
	}
	found := expiry(name, path, first, now)
	if len(certs) > 1 && found.Verdict == checkup.Fail {
		found.Verdict = checkup.Warn // another one may do
	}
	return found
}
