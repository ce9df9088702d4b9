//go:build compose

package compose_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
)

// certificates runs what docs/SECURITY.md shows, in a directory, and returns where the
// files are.
func certificates(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	dir := t.TempDir()
	must(t, nil, "sh", "-ec", "cd '"+dir+"'\n"+blocks[0][1])
	return filepath.Join(dir, "tls")
}

// operator is a caller of the gateway with the operator's certificate and the token.
func operator(t *testing.T, dir, addr string) *grpc.ClientConn {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "operator.pem"), filepath.Join(dir, "operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(authority)
	conn, err := grpc.NewClient(addr, grpc.WithNoProxy(), grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: known, Certificates: []tls.Certificate{pair}})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask calls the gateway, and says how many workers it reaches.
func ask(t *testing.T, conn *grpc.ClientConn, token string) (reached int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	answer, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(ctx, &gatewayv1.GetStatusRequest{})
	for _, worker := range answer.GetWorkers() {
		if worker.GetReachable() {
			reached++
		}
	}
	return reached, err
}

// serial is the number of the certificate that a server shows to the operator.
func serial(t *testing.T, dir, addr string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "operator.pem"), filepath.Join(dir, "operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// stopped begins a turn and stops its Codex in the middle, until the test lets it go on.
func stopped(w *watched, chat int64, text string) (goOn func()) {
	w.stack.t.Helper()
	w.sim.write(chat, "!scenario slow FAKE_CODEX_DELAY=1500\n"+text)
	worker := w.containers("orchestrator")[0]
	signal := func(name string) (any, bool) {
		output, err := command(w.stack.t.Context(), nil, "docker", "exec", worker, "sh", "-c", "kill -s "+name+" $(pidof codex)")
		return errors.Join(err, errors.New(output)), err == nil
	}
	w.until("there is no Codex", func() (any, bool) { return signal("STOP") })
	return func() { w.until("Codex does not go on", func() (any, bool) { return signal("CONT") }) }
}

// renewed signs every certificate again, as docs/DEPLOY.md says, while a stream is open,
// and another one that brings a turn from its worker: who connects afterwards sees the
// new ones, and both streams go on.
func renewed(t *testing.T, w *watched, env []string, conn *grpc.ClientConn, token, dir string, addrs ...string) {
	t.Helper()
	const held, another = "answered under other certificates", int64(1002)
	goOn := stopped(w, another, held)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), 2*patience)
	defer cancel()
	stream, err := gatewayv1.NewGatewayServiceClient(conn).WatchCycles(ctx, &gatewayv1.WatchCyclesRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, addr := range addrs {
		before[addr] = serial(t, dir, addr)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^sign.*$`).FindAllString(string(text), -1)
	if len(lines) != 5 {
		t.Fatalf("these lines sign: %q", lines)
	}
	must(t, nil, "sh", "-ec", "cd '"+filepath.Dir(dir)+"'\n"+strings.Join(lines, "\n"))
	must(t, env, "make", "up")
	for _, addr := range addrs {
		w.until("the old certificate is shown at "+addr, func() (any, bool) { now := serial(t, dir, addr); return now, now != before[addr] })
	}
	w.sim.write(123456789, "renewed")
	w.answer(123456789, "You said: renewed")
	for { // the only message since the stream began
		report, err := stream.Recv()
		if err != nil {
			t.Fatalf("a stream did not outlive the change of certificates: %v", err)
		}
		if report.GetReport().GetFetchedCount() > 0 {
			break
		}
	}
	if sent := w.sim.messages(another); len(sent) > 0 {
		t.Errorf("before the turn ended the bot said %v", sent)
	}
	goOn()
	w.answer(another, answered+held)
	if sent := w.sim.messages(another); len(sent) != 1 {
		t.Errorf("the turn that ran meanwhile was answered with %v", sent)
	}
	log := must(t, nil, "sh", "-c", `docker logs "$1" 2>&1`, "sh", w.containers("gateway")[0])
	if !strings.Contains(log, `"msg":"turn settled"`) || strings.Contains(log, `"msg":"call ended"`) {
		t.Errorf("a turn's stream did not outlive the change of certificates:\n%s", log)
	}
}

// follows runs make logs until it shows a line with a text, and ends it.
func follows(t *testing.T, env []string, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "logs")
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // make passes it on
	cmd.WaitDelay = 10 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for lines := bufio.NewScanner(stdout); !found && lines.Scan(); {
		found = strings.Contains(lines.Text(), text)
	}
	cancel()
	if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
		t.Error(err)
	}
	if !found {
		t.Errorf("make logs does not show %q", text)
	}
}

// The overlays that need no database, as people start them: make up with TLS and
// Prometheus answers a message; who has no certificate, or no token, is refused, by the
// gateway and by a worker; an operator probes them as docs/PROBES.md says; Prometheus reads the metrics over TLS,
// the dashboard shows how long certificates last; they are renewed under an open stream and a
// running turn; make logs follows;
// make down, which is told of no overlay, leaves nothing.
func TestOverlaysComeUpAndLeaveNothing(t *testing.T) {
	needEngine(t)
	if remains(t, demo) != "" {
		t.Fatal("the demonstration runs already: make down ends it")
	}
	image, dir, chat := prometheusImage(t), certificates(t), int64(123456789)
	gateway, worker, telegram, port := freePort(t), freePort(t), freePort(t), freePort(t)
	env := []string{"OVERLAYS=observability tls", "TLS_DIR=" + dir, "TLS_SECRETS_DIR=" + filepath.Join(t.TempDir(), "tls"),
		"PROMETHEUS_IMAGE=" + image, "PROMETHEUS_PORT=" + port, "GRAFANA_IMAGE=" + image, "GRAFANA_PORT=" + freePort(t),
		"GATEWAY_PORT=" + gateway, "ORCHESTRATOR_PORTS=" + worker, "TELEGRAM_PORT=" + telegram, "CHANNEL_ALLOWED_CHAT_IDS=123456789,1002",
		"CHANNEL_TOKEN=", "CHANNEL_TOKEN_FILE="}
	t.Cleanup(func() { madeDown(t) })
	if output := must(t, env, "sh", "-c", "make up 2>&1"); !strings.Contains(output, "The dashboard is at http://127.0.0.1:") {
		t.Errorf("make up says\n%s", output)
	}

	w := &watched{stack: &stack{t: t, project: demo, env: env, sim: simulator{t: t, url: "http://127.0.0.1:" + telegram}}, prometheus: prometheus{t: t, url: "http://127.0.0.1:" + port}}
	w.sim.write(chat, "hello")
	w.answer(chat, "You said: hello")
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	conn := operator(t, dir, "127.0.0.1:"+gateway)
	if reached, err := ask(t, conn, strings.TrimSpace(string(token))); err != nil || reached != 1 {
		t.Errorf("%d workers, %v", reached, err)
	}
	if _, err := ask(t, conn, ""); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	for _, addr := range []string{"127.0.0.1:" + gateway, "127.0.0.1:" + worker} {
		plain, err := harness.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t, plain, strings.TrimSpace(string(token))); status.Code(err) != codes.Unavailable {
			t.Errorf("in plaintext, %s: %v", addr, err)
		}
		if err := plain.Close(); err != nil {
			t.Error(err)
		}
	}
	probe(t, probed(t, "With TLS and a token"), "127.0.0.1:"+worker, "127.0.0.1:"+gateway, dir,
		"-max-time 1 ", "-max-time 5 ", "operator.key 127.0.0.1:7450 ", "/MoveSession", "/ResolveTurn") // nothing is interrupted
	w.until("Prometheus scrapes", func() (any, bool) {
		well := w.targets()
		return well, well["telecodex-gateway"] == 1 && well["telecodex-orchestrator"] == 1
	})
	w.certificates()
	renewed(t, w, env, conn, strings.TrimSpace(string(token)), dir, "127.0.0.1:"+worker, "127.0.0.1:"+gateway)
	follows(t, env, "turn settled")

	must(t, nil, "make", "down")
	if left := remains(t, demo); left != "" {
		t.Errorf("make down left\n%s", left)
	}
	if output, err := command(t.Context(), append(env, "OVERLAYS=tsl"), "make", "up"); err == nil || !strings.Contains(err.Error(), "there is no overlay tsl") || remains(t, demo) != "" {
		t.Errorf("an overlay that is not there: %v\n%s", err, output)
	}
}
