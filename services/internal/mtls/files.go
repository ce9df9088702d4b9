// Package mtls makes TLS connections between the services from certificate files.
// Both sides speak TLS 1.3 and nothing older. The files are read anew when they
// change: the next handshake uses what they hold then, and connections that are
// open stay open, whatever streams run on them.
package mtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"
)

// SystemRoots is a ClientFiles.CA that stands for the authorities this machine
// trusts.
const SystemRoots = "system"

// ServerFiles say with what a server shows who it is, and whom it lets in. All
// files are PEM.
type ServerFiles struct {
	Setting     string   // what the names of the settings begin with, for errors: "ORCHESTRATOR_TLS_"
	Cert        string   // certificate, and those between it and its authority; empty: no TLS
	Key         string   // of the certificate
	ClientCA    string   // authorities of clients; empty: no client is asked for a certificate
	ClientNames []string // of clients that are let in; nil: each whose certificate an authority signed
}

// Enabled says whether the server speaks TLS.
func (f ServerFiles) Enabled() bool { return f.Cert != "" }

// Check says what is missing among the settings. It looks at no file.
func (f ServerFiles) Check() error {
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return errPair(f.Setting)
	case f.Cert == "" && f.ClientCA != "":
		return fmt.Errorf("%sCLIENT_CA_FILE is given without %sCERT_FILE: only a server with a certificate can ask for one", f.Setting, f.Setting)
	case f.ClientCA == "" && f.ClientNames != nil:
		return fmt.Errorf("%sCLIENT_NAMES is given without %sCLIENT_CA_FILE: nobody vouches for the names", f.Setting, f.Setting)
	}
	return nil
}

// ClientFiles say whom a client trusts, and with what it shows who it is.
type ClientFiles struct {
	Setting    string // as in ServerFiles
	CA         string // authorities of servers, PEM, or SystemRoots; empty: no TLS
	Cert       string // as in ServerFiles; empty: none is shown
	Key        string
	ServerName string // in the certificates of servers; empty: the name that is dialed
}

// Enabled says whether the client speaks TLS.
func (f ClientFiles) Enabled() bool { return f.CA != "" }

// Check says what is missing among the settings. It looks at no file.
func (f ClientFiles) Check() error {
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return errPair(f.Setting)
	case f.CA == "" && (f.Cert != "" || f.ServerName != ""):
		return fmt.Errorf("%sCA_FILE must be given too: it says who may sign the servers' certificates (a file, or %s)", f.Setting, SystemRoots)
	}
	return nil
}

func errPair(setting string) error {
	return fmt.Errorf("%sCERT_FILE and %sKEY_FILE belong together: give both of them or none", setting, setting)
}

// material is what files hold.
type material struct {
	config      *tls.Config
	credentials credentials.TransportCredentials
	expires     time.Time // of the own certificate; zero: there is none
}

func newMaterial(log *zap.Logger, config *tls.Config) material {
	m := material{config: config, credentials: credentials.NewTLS(config)}
	for _, own := range config.Certificates {
		m.expires = own.Leaf.NotAfter
		if left := time.Until(m.expires); left < ExpiresSoon {
			log.Warn("the own certificate expires soon, or has", zap.Time("expires", m.expires))
		}
	}
	return m
}

// base is what every configuration has.
func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		// A resumed session would rest on the certificates of an earlier time.
		SessionTicketsDisabled: true,
	}
}

// pair reads the own certificate, for the use it is to be of.
func pair(setting, path string, cert, key []byte, use x509.ExtKeyUsage) ([]tls.Certificate, error) {
	if !whole(cert) {
		return nil, fmt.Errorf("%sCERT_FILE is cut off or damaged: a certificate of %s does not end", setting, path)
	}
	own, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%sCERT_FILE and %sKEY_FILE hold no certificate with its key: %w", setting, setting, err)
	}
	if uses := own.Leaf.ExtKeyUsage; len(uses) > 0 && !slices.Contains(uses, use) && !slices.Contains(uses, x509.ExtKeyUsageAny) {
		return nil, fmt.Errorf("%sCERT_FILE (%s) is not made for this use: its extendedKeyUsage must name %s", setting, path, useName(use))
	}
	return []tls.Certificate{own}, nil
}

func useName(use x509.ExtKeyUsage) string {
	if use == x509.ExtKeyUsageServerAuth {
		return "serverAuth"
	}
	return "clientAuth"
}

// certificates are those in a PEM text that can be read.
func certificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
}

// whole says whether all that begins in a PEM text can be decoded. What cannot is
// left out by the decoder, silently.
func whole(text []byte) bool {
	begun := bytes.Count(text, []byte("-----BEGIN "))
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return begun == 0
		}
		begun--
	}
}

// authorities reads a bundle.
func authorities(setting, path string, text []byte) (*x509.CertPool, error) {
	pool, certs := x509.NewCertPool(), certificates(text)
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s (%s) holds no certificate in PEM form", setting, path)
	}
	if !whole(text) {
		return nil, fmt.Errorf("%s (%s) is cut off or damaged: one of its certificates does not end", setting, path)
	}
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool, nil
}
