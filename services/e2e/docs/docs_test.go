package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deployDocument needs a container engine: package compose runs its lines.
const deployDocument = "docs/DEPLOY.md"

// documentedChat is the chat that the documents allow.
const documentedChat = 123456789

// shows is what each line's output must match. A line that is not here fails
// the test. Lines of make are only looked at (make --dry-run): this test runs
// within one of them, and CI runs the other.
var shows = map[string]string{
	"make run":   `bin/telecodex.* demo`,
	"make test":  `testreport`,
	"make build": `go build`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 make run":    `bin/telecodex.* run`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 bin/gateway": `"sent_count":1`,
	`sudo -b -i -u codex "$PWD/bin/orchestrator"`:                                 ``,
	"bin/faketelegram &": ``,
	`bin/orchestrator --codex-bin "$PWD/bin/fakecodex" --state-dir by-hand/worker &`:                                                                                                                   ``,
	`curl -s -d '{"chat_id": 123456789, "text": "hello"}' http://127.0.0.1:8081/control/inject`:                                                                                                        `"update_id":`,
	"bin/gateway --once --token 1000000:TEST-TOKEN --telegram-api-url http://127.0.0.1:8081 --allowed-chat-ids 123456789 --store by-hand/gateway.db --cursor-state-path=":                              `"sent_count":1`,
	`curl -s 'http://127.0.0.1:8081/control/messages?chat_id=123456789'`:                                                                                                                               `hello`,
	`bin/orchestrator --codex-bin "$PWD/bin/fakecodex" --state-dir by-hand/worker --allowed-sandboxes read-only,workspace-write,danger-full-access --codex-env C2_SHARED=backend,C2_BACKEND=backend &`: ``,
	`make conformance ADDR=127.0.0.1:7450 SHARED_DIR="$PWD"/by-hand`:                                                                                                                                   `ADDR='127\.0\.0\.1:7450' SHARED_DIR='/.*/by-hand'(?s).*/e2e/conformance`,
	"make conformance ADDR=127.0.0.1:7450 CA_FILE=tls/ca.pem CERT_FILE=tls/operator.pem KEY_FILE=tls/operator.key TOKEN_FILE=tls/token":                                                                `(?s)CA_FILE='tls/ca\.pem' CERT_FILE='tls/operator.pem' KEY_FILE='tls/operator.key'.*TOKEN_FILE='tls/token'`,
	"bin/telecodex --help":                        `(?s)NAME.* telecodex - .*EXIT STATUS`,
	"bin/gateway --help":                          `(?s)NAME.* gateway - .*EXIT STATUS`,
	"bin/orchestrator --help":                     `(?s)NAME.* orchestrator - .*EXIT STATUS`,
	".bin/grpcurl -plaintext 127.0.0.1:7450 list": `telecodex\.orchestrator\.v1\.OrchestratorService`,
	".bin/grpcurl -plaintext 127.0.0.1:7450 telecodex.orchestrator.v1.OrchestratorService/GetCapabilities": `"agent_api\.run"`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 bin/telecodex doctor":                 `(?m)^\d+ ok, \d+ warn, 0 fail$`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 bin/telecodex doctor --json":          `^{"status":"(ok|warn)",`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ORCHESTRATOR_MODE=default CHANNEL_LIVE_MODE=false bin/gateway":   `"sent_count":1`,
	"bin/telecodex help doctor":                                       `telecodex doctor - `,
	"bin/telecodex --version":                                         `^telecodex .* \(go`,
	"bin/telecodex completion bash":                                   `complete -F _telecodex telecodex`,
	"tar -czf telecodex-backup.tar.gz .channel_runtime .orchestrator": ``,
	".bin/grpcurl -plaintext 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/ListSessions":                                 `"telegram:1"`,
	`.bin/grpcurl -plaintext -d '{"update_id": 100000001}' 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/GetUpdateTrace`: `DELIVERED`,
	".bin/grpcurl -plaintext 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/GetStatus":                                    `"orchestratorMode": "codex"`,
}

func TestEveryLineOfEveryDocumentWorks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the documents show lines for a POSIX shell")
	}
	stage := setUp(t)
	for _, b := range blocks(t) {
		if slices.Contains([]string{smokeDocument, workersDocument, probesDocument, securityDocument, deployDocument}, b.document) {
			continue // see TestSmokeProtocolByHand, TestAConversationMovesAsDocumented, TestProbesWorkAsPrinted, package compose
		}
		for _, line := range b.lines {
			t.Run(b.document+": "+line, func(t *testing.T) {
				pattern, known := shows[line]
				if !known {
					t.Fatal("no test runs this line")
				}
				if output := stage.run(t, line); !regexp.MustCompile(pattern).MatchString(output) {
					t.Errorf("the output does not match %q:\n%s", pattern, output)
				}
			})
		}
	}
}

func TestLinesOfDocumentsAreFound(t *testing.T) {
	t.Parallel()
	found := blocksOf("x.md", "text\n```sh\n# why\nmake run\n\n  bin/x --help\n```\n```text\nnot this\n```\n```sh\nlast\n```\n")
	if len(found) != 2 || strings.Join(found[0].lines, "|") != "make run|bin/x --help" || found[1].lines[0] != "last" {
		t.Errorf("found %q", found)
	}
}

// stage is a place in which the documents' lines work: programs in bin/, a
// token in token.txt, both services running, a message waiting for the gateway.
type stage struct {
	dir     string
	env     []string // of a line
	addrs   *strings.Replacer
	message func()
}

func setUp(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	programs, err := harness.Build(t.Context(), filepath.Join(dir, "bin"), "gateway", "orchestrator", "telecodex", "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token.txt"), []byte(telegramsim.DefaultToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What a worker in telecodex would leave behind.
	if err := os.Mkdir(filepath.Join(dir, ".orchestrator"), 0o700); err != nil {
		t.Fatal(err)
	}
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := harness.StartWorker(t.Context(), harness.WorkerConfig{Programs: programs, Dir: filepath.Join(dir, "worker")})
	if err != nil {
		t.Fatal(err)
	}
	operator, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{dir: dir, env: append(os.Environ(),
		"CHANNEL_TELEGRAM_API_URL="+sim.URL, "CHANNEL_ORCHESTRATOR_ADDR="+worker.Addr, "CHANNEL_ONCE=true")}
	s.addrs = strings.NewReplacer("127.0.0.1:7450", worker.Addr, "127.0.0.1:7451", operator, "http://127.0.0.1:8081", byHand(t),
		".bin/grpcurl ", grpcurl(t)+" -max-time 30 ")
	s.message = func() { sim.Inject(telegramsim.Incoming{ChatID: documentedChat, Text: "hello"}) }
	gateway := startGateway(t, programs, dir, worker.Addr, operator)
	t.Cleanup(func() {
		for _, stop := range []func() error{
			func() error { return gateway.Stop(10 * time.Second) }, func() error { return worker.Stop(10 * time.Second) }, sim.Close,
		} {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// byHand is the simulator that a person starts. Its updates have other numbers
// than those of the first bot, which has the same worker.
func byHand(t *testing.T) (url string) {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := sim.SetNextUpdateID(900000001); err != nil {
		t.Fatal(err)
	}
	return sim.URL
}

// startGateway runs a second bot, for the lines that ask a running gateway.
func startGateway(t *testing.T, programs harness.Programs, dir, worker, operator string) *harness.Process {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := harness.Start(harness.Command{Path: programs.Path("gateway"), Dir: dir, Env: []string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1",
		"CHANNEL_ORCHESTRATOR_ADDR=" + worker, "CHANNEL_LISTEN_ADDR=" + operator, "CHANNEL_METRICS_ADDR=",
		"CHANNEL_STORE=" + filepath.Join(dir, "second", "gateway.db"), "CHANNEL_CURSOR_STATE_PATH=",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := harness.Dial(operator)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatalf("the gateway does not serve (%v): %s", err, gateway.Stderr())
	}
	sim.Inject(telegramsim.Incoming{ChatID: 1, Text: "hello"})
	if _, err := sim.WaitForMessages(ctx, 1, 1); err != nil {
		t.Fatalf("the gateway does not answer (%v): %s", err, gateway.Stderr())
	}
	return gateway
}

// pinnedTools is where `make test` puts grpcurl and gojq. Without them the lines that
// need them cannot be run.
func pinnedTools(t *testing.T) string {
	t.Helper()
	tools, err := filepath.Abs(filepath.Join(root, ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

func grpcurl(t *testing.T) string { return filepath.Join(pinnedTools(t), "grpcurl") }

// run runs a line as a person would and returns what it prints.
func (s *stage) run(t *testing.T, line string) string {
	t.Helper()
	dir, env, command := s.dir, s.env, s.addrs.Replace(line)
	switch {
	case strings.HasSuffix(line, "&"), strings.HasPrefix(line, "sudo "):
		return "" // it is running
	case strings.Contains(line, "make "):
		dir, command = root, strings.Replace(line, "make ", "make --dry-run --no-print-directory ", 1)
		env = os.Environ()
	case strings.HasPrefix(line, ".bin/grpcurl "):
		if _, err := os.Stat(grpcurl(t)); err != nil {
			t.Skip("grpcurl is not there: `make .bin/grpcurl` builds it")
		}
	case strings.HasPrefix(line, "curl "):
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not installed")
		}
	case strings.HasSuffix(line, "bin/gateway"):
		s.message()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", command)
	shell.Dir, shell.Env = dir, env
	var stderr strings.Builder
	shell.Stderr = &stderr
	output, err := shell.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, output, stderr.String())
	}
	return string(output)
}
