package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"

	"telecodex.dev/services/internal/reload"
)

// Client trusts the servers that its authorities vouch for, and shows its own
// certificate where it has one and is asked.
type Client struct {
	files *reload.Files[material]
	name  string
	self  bool // see NewSelf
}

// NewClient reads the files. Its errors name the setting at fault.
func NewClient(log *zap.Logger, f ClientFiles) (*Client, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	var files []reload.File
	if f.Cert != "" {
		files = append(files, reload.File{Setting: f.Setting + "CERT_FILE", Path: f.Cert}, reload.File{Setting: f.Setting + "KEY_FILE", Path: f.Key})
	}
	if f.CA != SystemRoots {
		files = append(files, reload.File{Setting: f.Setting + "CA_FILE", Path: f.CA})
	}
	c := &Client{name: f.ServerName}
	var err error
	c.files, err = reload.Open(log, func(contents [][]byte) (material, error) { return f.parse(log, contents) }, files...)
	return c, err
}

func (f ClientFiles) parse(log *zap.Logger, contents [][]byte) (m material, err error) {
	config := base()
	if f.Cert != "" {
		if config.Certificates, err = pair(f.Setting, f.Cert, contents[0], contents[1], x509.ExtKeyUsageClientAuth); err != nil {
			return m, err
		}
		// Also where the server names other authorities: then it says what is wrong,
		// instead of that there was no certificate.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &config.Certificates[0], nil }
	}
	if f.CA != SystemRoots {
		if config.RootCAs, err = authorities(f.Setting+"CA_FILE", f.CA, contents[len(contents)-1]); err != nil {
			return m, err
		}
	}
	return newMaterial(log, config), nil
}

// Expires says when the certificate that is shown now stops being valid; zero: none
// is shown.
func (c *Client) Expires() time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.files.Get().expires
}

// Credentials are for a gRPC client of one server. name is what the server's
// certificate must hold, unless ClientFiles.ServerName says it for all; empty: the
// name or address that is dialed.
func (c *Client) Credentials(name string) credentials.TransportCredentials {
	if c.name != "" {
		name = c.name
	}
	return clientSide{client: c, name: name}
}

type clientSide struct {
	client *Client
	name   string
}

func (c clientSide) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.client.self {
		return c.client.selfHandshake(ctx, conn)
	}
	if c.name != "" {
		authority = c.name
	}
	return c.client.files.Get().credentials.ClientHandshake(ctx, authority, conn)
}

func (clientSide) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a client's")
}

func (clientSide) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (c clientSide) Clone() credentials.TransportCredentials { return c }

func (clientSide) OverrideServerName(string) error {
	return errors.New("the name is given with the credentials")
}
