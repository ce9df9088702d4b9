package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/certtest"
)

// fromRoot is a path that stands in a variable: make is run in the repository's root.
func fromRoot(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join("..", "..", "..", path)
}

// access is how the worker at ADDR is called, by CA_FILE, CERT_FILE, KEY_FILE,
// SERVER_NAME and TOKEN_FILE.
func access() (options []grpc.DialOption, err error) {
	ca := os.Getenv("CA_FILE")
	if ca == "" {
		for _, name := range []string{"CERT_FILE", "KEY_FILE", "SERVER_NAME"} {
			if os.Getenv(name) != "" {
				return nil, fmt.Errorf("%s is of no use without CA_FILE", name)
			}
		}
	} else {
		config, err := clientTLS(fromRoot(ca), fromRoot(os.Getenv("CERT_FILE")), fromRoot(os.Getenv("KEY_FILE")))
		if err != nil {
			return nil, err
		}
		config.ServerName = os.Getenv("SERVER_NAME")
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	}
	if file := os.Getenv("TOKEN_FILE"); file != "" {
		text, err := os.ReadFile(fromRoot(file))
		if err != nil {
			return nil, fmt.Errorf("TOKEN_FILE: %w", err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		options = append(options, grpc.WithPerRPCCredentials(token(strings.TrimSpace(first))))
	}
	return options, nil
}

func clientTLS(ca, cert, key string) (*tls.Config, error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("CA_FILE: %w", err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA_FILE: no certificate in %s", ca)
	}
	if cert == "" && key == "" {
		return config, nil
	}
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("CERT_FILE and KEY_FILE: %w", err)
	}
	config.Certificates = []tls.Certificate{own}
	return config, nil
}

// token is sent with every call, with TLS or on the same machine.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (token) RequireTransportSecurity() bool { return false }

// The suite itself, against a worker that somebody else has started and that lets in
// nobody without a certificate and a token. It leaves out what it cannot do there, and
// skips nothing.
func TestOwnWorkerBehindTLSIsTestedAtItsAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certtest.New(t, dir, "ca")
	client, tokenFile := ca.Issue(certtest.Client, "suite", certtest.Tomorrow()), filepath.Join(dir, "token")
	certtest.Write(t, tokenFile, "a-token-for-the-worker-0123\n")
	addr := guarded(t, ca, client, tokenFile)
	suite := func(env ...string) (output string, err error) {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.timeout=2m",
			"-test.run=^(TestHealthIsServed|TestReflectionListsTheServices|TestGetCapabilities|TestSameInputAttaches|TestSharedDir.*|TestOwnWorker.*)$")
		command.Env = append(os.Environ(), append([]string{"ADDR=" + addr, "SHARED_DIR=", "CA_FILE=" + ca.File, "SERVER_NAME=worker.test"}, env...)...)
		text, err := command.CombinedOutput()
		return string(text), err
	}
	known := []string{"CERT_FILE=" + client.Cert, "KEY_FILE=" + client.Key, "TOKEN_FILE=" + tokenFile}
	output, err := suite(known...)
	if passed := strings.Count(output, "\n--- PASS: "); err != nil || passed != 4 || strings.Contains(output, "--- SKIP") {
		t.Errorf("%d passed, %v:\n%s", passed, err, output)
	}
	for name, env := range map[string][]string{
		"without a token":       known[:2],
		"without a certificate": known[2:],
		"under another name":    append([]string{"SERVER_NAME=other.test"}, known...),
	} {
		if output, err := suite(env...); err == nil || !strings.Contains(output, "--- FAIL: TestGetCapabilities") {
			t.Errorf("%s: %v:\n%s", name, err, output)
		}
	}
}

// guarded starts a worker that is called by the name worker.test, and returns its address.
func guarded(t *testing.T, ca *certtest.Authority, client certtest.Pair, tokenFile string) string {
	t.Helper()
	server := ca.Issue(certtest.Server, "worker", certtest.Tomorrow(), "worker.test")
	config, err := clientTLS(ca.File, client.Cert, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = "worker.test"
	w, err := harness.StartWorker(t.Context(), harness.WorkerConfig{
		Programs: underTest.programs, Dir: t.TempDir(), Dial: []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))},
		Env: []string{"ORCHESTRATOR_TLS_CERT_FILE=" + server.Cert, "ORCHESTRATOR_TLS_KEY_FILE=" + server.Key,
			"ORCHESTRATOR_TLS_CLIENT_CA_FILE=" + ca.File, "ORCHESTRATOR_AUTH_TOKEN_FILE=" + tokenFile},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return w.Addr
}
