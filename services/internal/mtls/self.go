package mtls

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"

	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"
)

// selfName is the server name by which a server is asked for by who has its own
// files: its health check, its commands, the doctor. They show the server's own
// certificate, which need not be a client's: who holds its key is the server.
const selfName = "self.telecodex.internal"

// NewSelf returns a client of the very server that has these files. Its errors name
// the setting at fault.
func NewSelf(f ServerFiles) (*Client, error) {
	server, err := NewServer(zap.NewNop(), f)
	if err != nil {
		return nil, err
	}
	return &Client{name: selfName, files: server.files, self: true}, nil
}

// selfConfig is how a client of NewSelf shakes hands.
func selfConfig(own tls.Certificate) *tls.Config {
	config := base()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	// Compared as a whole, so that there is no chain and no name to verify.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error { return sameCertificate(state, own) }
	return config
}

// forSelf is a server's configuration for who asks by selfName.
func forSelf(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error { return sameCertificate(state, config.Certificates[0]) }
	return config
}

func sameCertificate(state tls.ConnectionState, own tls.Certificate) error {
	if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, own.Leaf.Raw) {
		return errors.New("the other side does not have the same certificate")
	}
	return nil
}

// selfHandshake shakes hands with the server that has the same files.
func (c *Client) selfHandshake(ctx context.Context, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	own := c.files.Get().config.Certificates[0]
	return credentials.NewTLS(selfConfig(own)).ClientHandshake(ctx, selfName, conn)
}
