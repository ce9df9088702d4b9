package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// secured are the files of a system whose services know each other, in a volume as
// Kubernetes makes one: names that lead through the link ..data to a directory.
type secured struct {
	*system
	ca     *certtest.Authority
	volume string
}

func newSecured(t *testing.T) *secured {
	s := &secured{system: newSystem(t)}
	s.ca = certtest.New(t, s.dir, "ca")
	s.volume = filepath.Join(s.dir, "volume")
	s.publish("1", certtest.Tomorrow())
	for _, name := range []string{"worker.pem", "worker.key", "gateway.pem", "gateway.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(s.volume, name)); err != nil {
			t.Fatal(err)
		}
	}
	certtest.Write(t, filepath.Join(s.dir, "token"), "a-token-for-the-worker-0123\n")
	return s
}

// publish makes a version of the volume, and swaps it in.
func (s *secured) publish(version string, until time.Time) {
	s.t.Helper()
	dir := filepath.Join(s.volume, version)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.ca.In(dir).Issue(certtest.Server, "worker", until, "127.0.0.1")
	s.ca.In(dir).Issue(certtest.Client, "gateway", until)
	next, data := filepath.Join(s.volume, "..next"), filepath.Join(s.volume, "..data")
	if err := os.Symlink(version, next); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, data); err != nil {
		s.t.Fatal(err)
	}
}

func (s *secured) in(name string) string { return filepath.Join(s.volume, name) }

func (s *secured) ofWorker(more ...string) []string {
	return append([]string{"ORCHESTRATOR_TLS_CERT_FILE=" + s.in("worker.pem"), "ORCHESTRATOR_TLS_KEY_FILE=" + s.in("worker.key"),
		"ORCHESTRATOR_TLS_CLIENT_CA_FILE=" + s.ca.File, "ORCHESTRATOR_TLS_CLIENT_NAMES=gateway",
		"ORCHESTRATOR_AUTH_TOKEN_FILE=" + filepath.Join(s.dir, "token")}, more...)
}

func (s *secured) ofGateway(more ...string) []string {
	return append([]string{"CHANNEL_ORCHESTRATOR_TLS_CA_FILE=" + s.ca.File, "CHANNEL_ORCHESTRATOR_TLS_CERT_FILE=" + s.in("gateway.pem"),
		"CHANNEL_ORCHESTRATOR_TLS_KEY_FILE=" + s.in("gateway.key"), "CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE=" + filepath.Join(s.dir, "token")}, more...)
}

// shown is the number of the certificate that the worker shows to who connects now.
func (s *secured) shown() string {
	own, err := tls.LoadX509KeyPair(s.in("gateway.pem"), s.in("gateway.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.authorities(), Certificates: []tls.Certificate{own}, NextProtos: []string{"h2"}})
	if err != nil {
		return "" // it does not listen yet
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (s *secured) authorities() *x509.CertPool {
	s.t.Helper()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(s.ca.File)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		s.t.Fatal(err)
	}
	return pool
}

func needLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: links need a privilege there")
	}
}

func TestCertificatesAreReplacedWhileATurnRuns(t *testing.T) {
	needLinks(t)
	t.Parallel()
	s := newSecured(t)
	s.startWorker(s.ofWorker()...)
	s.startGateway(nil, s.ofGateway()...)
	prompt := "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	begun := len(s.gateway.Stderr()) // the gateway may have begun before the worker
	before := s.shown()
	s.publish("2", certtest.Tomorrow())
	s.eventually("new handshakes see the new certificate", func() bool { now := s.shown(); return now != "" && now != before })
	s.publish("3", certtest.Yesterday()) // whoever connects from now on is refused
	s.eventually("the worker shows what has expired", func() bool {
		return s.doctorOf(s.ofGateway())["worker "+s.addr] == "fail its certificate has expired, or is not valid yet"
	})
	s.say("/cancel")
	if texts := s.heard(1); !strings.Contains(texts[0], "topped") && !strings.Contains(texts[0], "ancelled") {
		t.Errorf("messages = %q", texts)
	}
	for _, said := range []string{"worker cannot be reached", "call ended"} {
		if log := s.gateway.Stderr()[begun:]; strings.Contains(log, said) {
			t.Errorf("the open stream was dropped: %s", log)
		}
	}
}

// doctorOf examines a gateway of these settings: "verdict detail" by the check's name.
func (s *secured) doctorOf(env []string) map[string]string {
	s.t.Helper()
	p, err := harness.Start(harness.Command{Path: built.Path("telecodex"), Args: []string{"doctor", "--json"}, Dir: s.dir, Env: append([]string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + s.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1000",
		"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=", "CHANNEL_ORCHESTRATOR_ADDR=" + s.addr}, env...)})
	if err != nil {
		s.t.Fatal(err)
	}
	<-p.Done()
	var diagnosis struct {
		Checks []struct{ Name, Verdict, Detail string }
	}
	if err := json.Unmarshal([]byte(p.Stdout()), &diagnosis); err != nil {
		s.t.Fatalf("%v: %s%s", err, p.Stdout(), p.Stderr())
	}
	found := map[string]string{}
	for _, c := range diagnosis.Checks {
		found[c.Name] = c.Verdict + " " + c.Detail
	}
	return found
}

// Who is not known is refused with words: by the doctor, and in the gateway's log,
// while the message stays stored; once it is mended, it is answered.
func TestWhoIsNotKnownIsRefusedWithWords(t *testing.T) {
	needLinks(t)
	for _, tt := range []struct {
		name, what string
		env        func(s *secured) []string // of the gateway
	}{
		{"expired", "it refuses this gateway's certificate, which has expired", func(s *secured) []string {
			old := s.ca.In(s.dir).Issue(certtest.Client, "old", certtest.Yesterday())
			return s.ofGateway("CHANNEL_ORCHESTRATOR_TLS_CERT_FILE="+old.Cert, "CHANNEL_ORCHESTRATOR_TLS_KEY_FILE="+old.Key)
		}},
		{"wrong authority", "it refuses this gateway's certificate, which is of an authority that it does not know", func(s *secured) []string {
			other := s.ca.Another("other").Issue(certtest.Client, "gateway", certtest.Tomorrow())
			return s.ofGateway("CHANNEL_ORCHESTRATOR_TLS_CERT_FILE="+other.Cert, "CHANNEL_ORCHESTRATOR_TLS_KEY_FILE="+other.Key)
		}},
		{"plaintext", "it ends the connection without a word, as one does that wants TLS", func(*secured) []string { return nil }},
		{"wrong token", "it does not accept this gateway's token, or wants one", func(s *secured) []string {
			other := filepath.Join(s.dir, "other.token")
			certtest.Write(s.t, other, "another-token-0123456789\n")
			return s.ofGateway("CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE=" + other)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSecured(t)
			s.startWorker(s.ofWorker()...)
			env := tt.env(s)
			s.say("hello")
			s.startGateway(nil, env...)
			s.eventually("the log says why", func() bool { return strings.Contains(s.gateway.Stderr(), tt.what) })
			if found := s.doctorOf(env)["worker "+s.addr]; found != "fail "+tt.what {
				t.Errorf("the doctor says %q", found)
			}
			if err := s.gateway.Stop(20 * time.Second); err != nil {
				t.Fatal(err)
			}
			s.startGateway(nil, s.ofGateway()...)
			if texts := s.heard(1); texts[len(texts)-1] != "You said: hello" {
				t.Errorf("messages = %q", texts)
			}
		})
	}
}

// With TLS an address that other machines reach needs no leave, and its metrics have
// the same certificate.
func TestAddressesBeyondLoopback(t *testing.T) {
	needLinks(t)
	t.Parallel()
	s := newSecured(t)
	metrics, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	everywhere := func(addr string) string { return strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1) }
	env := append(s.ofWorker(), "ORCHESTRATOR_LISTEN_ADDR="+everywhere(s.addr), "ORCHESTRATOR_METRICS_ADDR="+everywhere(metrics))
	s.startWorker(env...)
	s.eventually("the worker's own files say that it is healthy", func() bool {
		p, err := harness.Start(harness.Command{Path: built.Path("orchestrator"), Args: []string{"healthcheck"}, Dir: s.dir, Env: env})
		if err != nil {
			t.Fatal(err)
		}
		return p.Status() == 0
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.authorities()}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": "go_goroutines"} {
		answer, err := client.Get("https://" + metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // it was read
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v %.200s", path, err, body)
		}
	}
}

// The operator of a worker that wants certificates and a token drains it with the
// worker's own files, named as variables or as flags; without its token, or without
// TLS, nobody does.
func TestAWorkerWithTLSIsDrainedByItsOwnFiles(t *testing.T) {
	needLinks(t)
	t.Parallel()
	s := newSecured(t)
	s.startWorker(s.ofWorker()...)
	s.startGateway(nil, s.ofGateway()...)
	s.say("hello")
	s.heard(1)

	drain := func(env []string, args ...string) *harness.Process {
		t.Helper()
		p, err := harness.Start(harness.Command{Path: built.Path("orchestrator"), Args: append([]string{"drain"}, args...), Dir: s.dir,
			Env: append([]string{"ORCHESTRATOR_LISTEN_ADDR=" + s.addr}, env...)})
		if err != nil {
			t.Fatal(err)
		}
		s.wait("drain ends", p.Done())
		return p
	}
	other := filepath.Join(s.dir, "other.token")
	certtest.Write(t, other, "another-token-0123456789\n")
	for name, env := range map[string][]string{"another token": s.ofWorker("ORCHESTRATOR_AUTH_TOKEN_FILE=" + other), "no TLS": nil} {
		if p := drain(env, "--detach"); p.Status() != 1 || !strings.Contains(p.Stderr(), "the worker does not answer: ") {
			t.Errorf("%s: %d %s%s", name, p.Status(), p.Stdout(), p.Stderr())
		}
	}
	if p := drain(s.ofWorker()); p.Status() != 0 || !strings.Contains(p.Stdout(), "is empty and takes no turns") {
		t.Errorf("drain: %d %s%s", p.Status(), p.Stdout(), p.Stderr())
	}
	waiting := s.say("again")
	flags := []string{"--undo", "--tls-cert-file", s.in("worker.pem"), "--tls-key-file", s.in("worker.key"),
		"--tls-client-ca-file", s.ca.File, "--auth-token-file", filepath.Join(s.dir, "token")}
	s.eventually("the gateway holds what is said meanwhile", func() bool {
		return strings.Contains(s.gateway.Stderr(), fmt.Sprintf("-%d", waiting.UpdateID))
	})
	if started, _ := s.runs("again"); started != 0 {
		t.Error("a worker that is drained runs a turn")
	}
	if p := drain(nil, flags...); p.Status() != 0 || !strings.Contains(p.Stdout(), "takes turns again") {
		t.Errorf("drain --undo: %d %s%s", p.Status(), p.Stdout(), p.Stderr())
	}
	if texts := s.heard(2); texts[1] != "You said: again" {
		t.Errorf("messages = %q", texts)
	}
}
