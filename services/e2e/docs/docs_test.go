package docs

import (
	"context"
	"maps"
	"os"
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

// shows is what each line's output must match. A line that is neither here nor in
// elsewhere fails the test.
var shows = map[string]string{
	"make run": `(?s)\nbot: You said: .*"sent_count":1`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 make run":    `"sent_count":1`,
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 bin/gateway": `"sent_count":1`,
	`sudo -b -i -u codex "$PWD/bin/orchestrator"`:                                 ``,
	"bin/faketelegram &": ``,
	`bin/orchestrator --codex-bin "$PWD/bin/fakecodex" --state-dir by-hand/worker &`:                                                                                                                   ``,
	`curl -s -d '{"chat_id": 123456789, "text": "hello"}' http://127.0.0.1:8081/control/inject`:                                                                                                        `"update_id":`,
	"bin/gateway --once --token 1000000:TEST-TOKEN --telegram-api-url http://127.0.0.1:8081 --allowed-chat-ids 123456789 --store by-hand/gateway.db --cursor-state-path=":                              `"sent_count":1`,
	`curl -s 'http://127.0.0.1:8081/control/messages?chat_id=123456789'`:                                                                                                                               `hello`,
	`bin/orchestrator --codex-bin "$PWD/bin/fakecodex" --state-dir by-hand/worker --allowed-sandboxes read-only,workspace-write,danger-full-access --codex-env C2_SHARED=backend,C2_BACKEND=backend &`: ``,
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
	var documented []string
	for _, b := range blocks(t) {
		if slices.Contains([]string{smokeDocument, workersDocument, probesDocument, securityDocument, deployDocument}, b.document) {
			continue // see TestSmokeProtocolByHand, TestAConversationMovesAsDocumented, TestProbesWorkAsPrinted, package compose
		}
		documented = append(documented, b.lines...)
		t.Run(b.document, func(t *testing.T) {
			act := stage.begin(t)
			for _, line := range b.lines {
				t.Run(line, func(t *testing.T) {
					output, pattern := "", shows[line]
					if instead, exempt := elsewhere[line]; exempt {
						output, pattern = instead.look(t, line), instead.shows
					} else if _, known := shows[line]; !known {
						t.Fatal("no test runs this line")
					} else {
						output = act.run(t, line)
					}
					if !regexp.MustCompile(pattern).MatchString(output) {
						t.Errorf("the output does not match %q:\n%s", pattern, output)
					}
				})
			}
		})
	}
	for _, line := range slices.Concat(slices.Collect(maps.Keys(shows)), slices.Collect(maps.Keys(elsewhere))) {
		if !slices.Contains(documented, line) {
			t.Errorf("no document shows %s", line)
		}
	}
}

func TestLinesOfDocumentsAreFound(t *testing.T) {
	t.Parallel()
	found := blocksOf("x.md", "text\n```sh\n# why\nmake run\n\n  bin/x --help\n```\n```text\nnot this\n```\n```sh\nlast\n```\n")
	if len(found) != 2 || strings.Join(found[0].lines, "|") != "make run|bin/x --help" || found[1].lines[0] != "last" {
		t.Errorf("found %q", found)
	}
	for name, text := range documents(t) {
		for _, fence := range regexp.MustCompile("(?m)^ *```(.*)$").FindAllStringSubmatch(text, -1) {
			if kind := strings.TrimSpace(fence[1]); !slices.Contains([]string{"", "sh", "text"}, kind) {
				t.Errorf("%s has a block of %s: nobody runs its lines", name, kind)
			}
		}
	}
}

// stage is a place in which the documents' lines work: programs in bin/, a
// token in token.txt, both services running, a message waiting for the gateway.
type stage struct {
	dir     string
	env     []string          // of a line
	addrs   map[string]string // what is used in place of what a line says
	message func()
}

func setUp(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	programs, err := harness.Build(t.Context(), filepath.Join(dir, "bin"), "gateway", "orchestrator", "telecodex", "fakecodex", "faketelegram")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token.txt"), []byte(telegramsim.DefaultToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	copyMakefile(t, dir)
	err = os.Mkdir(filepath.Join(dir, "tools"), 0o700)
	if err == nil {
		err = os.Symlink(programs.Path("fakecodex"), filepath.Join(dir, "tools", "codex"))
	}
	if err != nil {
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
	s := &stage{dir: dir, env: append(clean(os.Environ()), "HOME="+dir, "CODEX_HOME="+filepath.Join(dir, "codex_home"), "PATH="+filepath.Join(dir, "tools")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"CHANNEL_TELEGRAM_API_URL="+sim.URL, "CHANNEL_ORCHESTRATOR_ADDR="+worker.Addr, "CHANNEL_ONCE=true")}
	s.addrs = map[string]string{"127.0.0.1:7450": worker.Addr, "127.0.0.1:7451": operator, ".bin/grpcurl ": grpcurl(t) + " -max-time 30 "}
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
