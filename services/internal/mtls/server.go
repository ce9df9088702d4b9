package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"

	"telecodex.dev/services/internal/reload"
)

// Server shows its certificate to clients, and asks for theirs where it was given
// an authority that vouches for them.
type Server struct {
	files *reload.Files[material]
	log   *zap.Logger

	// Whoever reaches the address can make a handshake fail: of those the log
	// holds a few.
	logged  rate.Sometimes
	unsaid  atomic.Int64
	strange atomic.Int64 // handshakes that failed
}

// NewServer reads the files. Its errors name the setting at fault.
func NewServer(log *zap.Logger, f ServerFiles) (*Server, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	files := []reload.File{{Setting: f.Setting + "CERT_FILE", Path: f.Cert}, {Setting: f.Setting + "KEY_FILE", Path: f.Key}}
	if f.ClientCA != "" {
		files = append(files, reload.File{Setting: f.Setting + "CLIENT_CA_FILE", Path: f.ClientCA})
	}
	s := &Server{log: log, logged: rate.Sometimes{First: 10, Interval: 10 * time.Second}}
	var err error
	s.files, err = reload.Open(log, func(contents [][]byte) (material, error) { return f.parse(log, contents) }, files...)
	return s, err
}

func (f ServerFiles) parse(log *zap.Logger, contents [][]byte) (m material, err error) {
	config := base()
	if config.Certificates, err = pair(f.Setting, f.Cert, contents[0], contents[1], x509.ExtKeyUsageServerAuth); err != nil {
		return m, err
	}
	if f.ClientCA != "" {
		if config.ClientCAs, err = authorities(f.Setting+"CLIENT_CA_FILE", f.ClientCA, contents[2]); err != nil {
			return m, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.VerifyConnection = f.letIn
	}
	self := forSelf(config)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == selfName {
			return self, nil
		}
		return nil, nil // as all others
	}
	return newMaterial(log, config), nil
}

// letIn refuses clients that an authority vouches for and nobody has named.
func (f ServerFiles) letIn(state tls.ConnectionState) error {
	if f.ClientNames == nil {
		return nil
	}
	names := Names(state.PeerCertificates[0])
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(f.ClientNames, name) }) {
		return nil
	}
	return fmt.Errorf("the client's certificate is valid, but none of its names (%q) is among %sCLIENT_NAMES", names, f.Setting)
}

// Names are what a certificate calls its holder: the URIs, DNS names and addresses
// in it, then its common name.
func Names(cert *x509.Certificate) (names []string) {
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	names = append(append(names, cert.DNSNames...), cert.EmailAddresses...)
	if cert.Subject.CommonName != "" {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

// Expires says when the certificate that is shown now stops being valid; of nil, zero.
func (s *Server) Expires() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.files.Get().expires
}

// Refused is how many handshakes of gRPC clients failed; of nil, none.
func (s *Server) Refused() int64 {
	if s == nil {
		return 0
	}
	return s.strange.Load()
}

// HTTP is the same certificate for a server of HTTP/1.1, whose clients are asked
// for none.
func (s *Server) HTTP() *tls.Config {
	config := base()
	config.NextProtos = []string{"http/1.1"}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &s.files.Get().config.Certificates[0], nil
	}
	return config
}

// Credentials are for a gRPC server.
func (s *Server) Credentials() credentials.TransportCredentials { return serverSide{s} }

type serverSide struct{ server *Server }

func (c serverSide) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	raw := &lingering{Conn: conn}
	secured, info, err := c.server.files.Get().credentials.ServerHandshake(raw)
	if err != nil {
		c.server.refused(conn.RemoteAddr(), err)
	}
	raw.settled.Store(true)
	return secured, info, err
}

// lingering is a connection that is not closed before the other side has had a moment
// to read why. A client of TLS 1.3 has sent its first request by then; closed with
// that unread, the connection is reset, and the alert lost.
type lingering struct {
	net.Conn
	settled atomic.Bool // by a handshake: from now on it closes at once
}

// Bounds of the moment.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 10
)

func (l *lingering) Close() error {
	half, ok := l.Conn.(interface{ CloseWrite() error })
	if !l.settled.Swap(true) && ok && half.CloseWrite() == nil && l.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, l.Conn, lingerBytes) // whatever it is, it is not wanted
	}
	return l.Conn.Close()
}

func (serverSide) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

func (serverSide) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (c serverSide) Clone() credentials.TransportCredentials { return c }

func (serverSide) OverrideServerName(string) error {
	return errors.New("a server's credentials name no server")
}

// refused says in the log why somebody was not let in. Who connects and leaves
// without a word only looks whether the port is open; whom a server that stops sends
// away is not refused.
func (s *Server) refused(from net.Addr, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	s.strange.Add(1)
	said := false
	s.logged.Do(func() {
		said = true
		s.log.Warn("a client was refused", zap.Stringer("address", from), zap.String("why", whyRefused(err)),
			zap.Int64("others_unsaid", s.unsaid.Swap(0)), zap.Error(err))
	})
	if !said {
		s.unsaid.Add(1)
	}
}

// whyRefused is the error of a handshake in words.
func whyRefused(err error) string {
	var plain tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &plain):
		return "it speaks no TLS"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "its certificate is not a client's: its extendedKeyUsage lacks clientAuth"
	case errors.As(err, &unknown):
		return "its certificate is of an unknown authority"
	case err.Error() == "tls: client didn't provide a certificate":
		return "it showed no certificate"
	}
	return "the handshake failed"
}
