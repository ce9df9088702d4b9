// Package certtest is a certificate authority for tests. It exists in memory; what
// it signs lies in files, as services are given it.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// File holds the authority's own certificate.
	File string
}

// New makes an authority that is valid for a day, and lies in dir as <name>.pem.
func New(t testing.TB, dir, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: dir, key: newKey(t), File: filepath.Join(dir, name+".pem")}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	Write(t, a.File, pemOf("CERTIFICATE", der))
	return a
}

// In is the same authority, which writes what it signs into another directory.
func (a *Authority) In(dir string) *Authority {
	there := *a
	there.dir = dir
	return &there
}

// Another is an authority beside this one, with a file in the same directory.
func (a *Authority) Another(name string) *Authority { return New(a.t, a.dir, name) }

// Kind is what a certificate may be used for.
type Kind = x509.ExtKeyUsage

// Kinds of certificates.
const (
	Server = x509.ExtKeyUsageServerAuth
	Client = x509.ExtKeyUsageClientAuth
)

// Pair names the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// Issue signs a certificate with a common name and other names or addresses, valid
// since yesterday until then, and writes it as <name>.pem and <name>.key, over what
// was there.
func (a *Authority) Issue(kind Kind, name string, until time.Time, names ...string) Pair {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(a.t), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{kind}, NotBefore: time.Now().Add(-25 * time.Hour), NotAfter: until,
	}
	for _, word := range names {
		if ip := net.ParseIP(word); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, word)
		}
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	pair := Pair{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
	Write(a.t, pair.Cert, pemOf("CERTIFICATE", der))
	Write(a.t, pair.Key, pemOf("PRIVATE KEY", secret))
	return pair
}

// Tomorrow is when a certificate may end that a test does not look at.
func Tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// Yesterday is when a certificate ended that has expired.
func Yesterday() time.Time { return time.Now().Add(-24 * time.Hour) }

// Write puts a text where a service reads it.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(fmt.Errorf("key: %w", err))
	}
	return key
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
