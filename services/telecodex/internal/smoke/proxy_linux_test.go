package smoke_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// The dead proxy is what S2 fails by: through one that works, to a Telegram that
// answers, it finds nothing amiss, and that is a NO-GO.
func TestAWorkingProxyIsNoGo(t *testing.T) {
	sim := telegramsim.New(telegramsim.Options{Token: "7000000001:AASimulatedTokenOfTheSmokeProtocol0"})
	t.Cleanup(sim.Close)
	telegram := httptest.NewUnstartedServer(sim)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	telegram.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "api.telegram.org", roots)}}
	telegram.StartTLS()
	t.Cleanup(telegram.Close)
	proxy := proxyTo(t, telegram.Listener.Addr().String())

	r := newTrial(t)
	r.Scenarios = []string{"S2"}
	r.SabotageWith(func(_ string, env map[string]string) {
		env["HTTPS_PROXY"] = "http://" + proxy
		env["SSL_CERT_FILE"] = roots
	})
	if status := r.run(t); status != 1 {
		t.Errorf("status %d", status)
	}
	r.shows(t, "FAIL      S2", `    status: expected "failed", observed "ok"`, "NO-GO: failed: S2\n", "  criterion 2")
}

// certificate makes one for a host, and writes it to a file as the root that
// vouches for it.
func certificate(t *testing.T, host, roots string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// proxyTo is an HTTP proxy that connects everybody to one address. It returns its
// own.
func proxyTo(t *testing.T, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() { listener.Close(); group.Wait() })
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { tunnel(client, target) })
		}
	})
	return listener.Addr().String()
}

func tunnel(client net.Conn, target string) {
	defer client.Close()
	reader := bufio.NewReader(client)
	if request, err := http.ReadRequest(reader); err != nil || request.Method != http.MethodConnect {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	_, _ = io.Copy(server, reader)
	server.Close()
	<-back
}
