package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// The lines of these documents are one session of one shell each, in the directory
// of services that run.
const (
	probesDocument   = "docs/PROBES.md"
	securityDocument = "docs/SECURITY.md"
)

// probed is what a call of the documents shows, however the server is called, by what
// stands after the address. A call that is refused begins with its status.
var probed = map[string]string{
	"127.0.0.1:7450 list": `(?s)grpc\.health\.v1\.Health.*telecodex\.orchestrator\.v1\.OrchestratorService`,
	"127.0.0.1:7450 describe telecodex.orchestrator.v1.OrchestratorService": `rpc RunTurn`,
	"127.0.0.1:7450 describe telecodex.orchestrator.v1.RunTurnRequest":      `string prompt`,
	"127.0.0.1:7450 grpc.health.v1.Health/Check":                            `"status": "SERVING"`,
	"127.0.0.1:7450 grpc.health.v1.Health/Watch":                            `(?s)^6[58] .*"status": "SERVING".*(DeadlineExceeded|Canceled)`,
	"127.0.0.1:7450 OrchestratorService/GetCapabilities":                    `"agent_api\.run"`,
	"127.0.0.1:7450 OrchestratorService/WatchWorker":                        `(?s)^6[58] .*"slotsTotal": 16.*(DeadlineExceeded|Canceled)`,
	"127.0.0.1:7450 OrchestratorService/RunTurn":                            `(?s)"accepted".*"finalText": "You said: say hello"`,
	"127.0.0.1:7450 OrchestratorService/WatchTurn":                          `(?s)"attached": true.*"sequence": "3".*"TURN_STATE_SUCCEEDED"`,
	"127.0.0.1:7450 OrchestratorService/GetTurn":                            `"TURN_STATE_SUCCEEDED"`,
	"127.0.0.1:7450 OrchestratorService/ListTurns":                          `"turnId": "probe-1"`,
	"127.0.0.1:7450 OrchestratorService/AcknowledgeTurn":                    `\{\s*\}`,
	"127.0.0.1:7450 OrchestratorService/CancelTurn":                         `"tombstone": true`,
	"127.0.0.1:7450 OrchestratorService/DrainWorker":                        `"workerId"`,
	"127.0.0.1:7451 list":                                                   `telecodex\.gateway\.v1\.GatewayService`,
	"127.0.0.1:7451 grpc.health.v1.Health/Check":                            `"status": "SERVING"`,
	"127.0.0.1:7451 GatewayService/GetStatus":                               `(?s)"botId": "1000000".*"reachable": true`,
	"127.0.0.1:7451 GatewayService/ListSessions":                            `"sessionId": "telegram:1"`,
	"127.0.0.1:7451 GatewayService/GetUpdateTrace":                          `"DELIVERED"`,
	"127.0.0.1:7451 GatewayService/RunCycle":                                `"contract": "tg-live.runtime.telemetry"`,
	"127.0.0.1:7451 GatewayService/WatchCycles":                             `^6[58] `,
	"127.0.0.1:7451 GatewayService/ResolveTurn":                             `(?s)"RESOLUTION_DROP".*"applied": true`,
	"127.0.0.1:7451 GatewayService/MoveSession":                             `^7[0-9] .*`,
}

// said is what the other lines show.
var said = map[string]string{
	"bin/orchestrator healthcheck": `^0 orchestrator at .* serves`,
	"bin/gateway healthcheck":      `^0 gateway at .* serves`,
	".bin/grpcurl -cacert tls/ca.pem -cert tls/operator.pem -key tls/operator.key 127.0.0.1:7450 telecodex.orchestrator.v1.OrchestratorService/GetCapabilities": `^[1-9].*\n?.*this server wants a token`,
	".bin/grpcurl -max-time 5 -cacert tls/ca.pem 127.0.0.1:7450 grpc.health.v1.Health/Check":                                                                    `(?s)^[1-9].*certificate required`,
	".bin/grpcurl -max-time 5 -plaintext 127.0.0.1:7450 grpc.health.v1.Health/Check":                                                                            `^[1-9]`,
	`export TOKEN="$(head -n 1 tls/token)"`: `^0 $`,
	`probe() { .bin/grpcurl -cacert tls/ca.pem -cert tls/operator.pem -key tls/operator.key -expand-headers -H 'authorization: Bearer ${TOKEN}' "$@"; }`: `^0 $`,
}

// patternOf finds what a line must show; empty: nothing is known of it.
func patternOf(line string) string {
	if pattern, known := said[line]; known {
		return pattern
	}
	for _, call := range []string{".bin/grpcurl -plaintext ", "probe "} {
		rest, ok := strings.CutPrefix(line, call)
		if !ok {
			continue
		}
		_, after, _ := strings.Cut(rest, "127.0.0.1:")
		after = strings.NewReplacer(" telecodex.orchestrator.v1.OrchestratorService/", " OrchestratorService/", " telecodex.gateway.v1.GatewayService/", " GatewayService/").Replace(after)
		if pattern := probed["127.0.0.1:"+after]; pattern != "" {
			if !strings.Contains(pattern, "^") {
				return `(?s)^0 .*` + pattern
			}
			return pattern
		}
	}
	return ""
}

// Every call of both services is there twice: with TLS and without.
func TestProbesShowEveryCall(t *testing.T) {
	plain, secured := probes(t)
	for _, file := range []protoreflect.FileDescriptor{orchestratorv1.File_telecodex_orchestrator_v1_orchestrator_service_proto, gatewayv1.File_telecodex_gateway_v1_gateway_service_proto} {
		service := file.Services().Get(0)
		for i := range service.Methods().Len() {
			call := fmt.Sprintf(" %s/%s", service.FullName(), service.Methods().Get(i).Name())
			for name, lines := range map[string][]string{"without TLS": plain, "with TLS": secured} {
				if !strings.Contains(strings.Join(lines, "\n")+"\n", call+"\n") {
					t.Errorf("%s: no line calls%s", name, call)
				}
			}
		}
	}
}

// probes are the document's lines, by section.
func probes(t *testing.T) (plain, secured []string) {
	t.Helper()
	for _, b := range blocks(t) {
		if b.document != probesDocument {
			continue
		}
		if len(secured) > 0 || strings.HasPrefix(b.lines[0], "export ") {
			secured = append(secured, b.lines...)
		} else {
			plain = append(plain, b.lines...)
		}
	}
	return plain, secured
}

func TestProbesWorkAsPrinted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the documents show lines for a POSIX shell")
	}
	if _, err := os.Stat(grpcurl(t)); err != nil {
		t.Skip("grpcurl is not there: `make .bin/grpcurl` builds it")
	}
	bin := filepath.Join(t.TempDir(), "bin")
	programs, err := harness.Build(t.Context(), bin, "gateway", "orchestrator", "fakecodex")
	if err != nil {
		t.Fatal(err)
	}
	plain, secured := probes(t)
	for name, lines := range map[string][]string{"without TLS": plain, "with TLS": secured} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProbed(t, programs, bin)
			if name == "with TLS" {
				p.makeCertificates(t)
			}
			p.start(t)
			p.interruptATurn(t)
			for i, output := range p.shell(t, lines) {
				pattern := patternOf(lines[i])
				if pattern == "" {
					t.Errorf("nobody knows what this line must show: %s", lines[i])
				} else if !regexp.MustCompile(pattern).MatchString(output) {
					t.Errorf("%s\ndoes not show %q but:\n%s", lines[i], pattern, output)
				}
			}
		})
	}
}

// stagedProbes is a directory in which the lines work, and the services that they call.
type stagedProbes struct {
	dir             string
	programs        harness.Programs
	sim             *telegramsim.Server
	worker, gateway string   // addresses
	workerEnv       []string // settings
	gatewayEnv      []string
	workerProcess   *harness.Process
}

func newProbed(t *testing.T, programs harness.Programs, bin string) *stagedProbes {
	t.Helper()
	p := &stagedProbes{dir: t.TempDir(), programs: programs}
	for name, target := range map[string]string{".bin": pinnedTools(t), "bin": bin} {
		if err := os.Symlink(target, filepath.Join(p.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, addr := range []*string{&p.worker, &p.gateway} {
		if *addr, err = freeport.Addr(); err != nil {
			t.Fatal(err)
		}
	}
	p.workerEnv = []string{"ORCHESTRATOR_LISTEN_ADDR=" + p.worker, "ORCHESTRATOR_METRICS_ADDR=off", "ORCHESTRATOR_CODEX_BIN=" + p.programs.Path("fakecodex"),
		"ORCHESTRATOR_CODEX_HOME=" + filepath.Join(p.dir, "codex"), "ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1", "ORCHESTRATOR_DRAIN_S=1"}
	p.gatewayEnv = []string{"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + p.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1", "CHANNEL_LONG_POLL_S=1",
		"CHANNEL_ORCHESTRATOR_ADDR=" + p.worker, "CHANNEL_LISTEN_ADDR=" + p.gateway, "CHANNEL_METRICS_ADDR=off"}
	return p
}

// makeCertificates runs the lines that make them, and takes the settings that stand
// below.
func (p *stagedProbes) makeCertificates(t *testing.T) {
	t.Helper()
	if version, err := exec.CommandContext(t.Context(), "openssl", "version").Output(); err != nil || !strings.HasPrefix(string(version), "OpenSSL 3") {
		t.Skip("OpenSSL 3 is not installed")
	}
	for _, b := range blocks(t) {
		if b.document != securityDocument {
			continue
		}
		for i, output := range p.shell(t, b.lines) {
			if !strings.HasPrefix(output, "0 ") {
				t.Fatalf("%s: %s", b.lines[i], output)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(securityDocument)))
	if err != nil {
		t.Fatal(err)
	}
	settings := regexp.MustCompile(`(?m)^((?:ORCHESTRATOR|CHANNEL)_[A-Z_]+)=(.+)$`).FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1)
	if len(settings) < 15 {
		t.Fatalf("%d settings in the document", len(settings))
	}
	for _, s := range settings {
		switch {
		case s[1] == "ORCHESTRATOR_LISTEN_ADDR":
			_, port, _ := strings.Cut(p.worker, ":")
			p.workerEnv = append(p.workerEnv, s[1]+"="+strings.Replace(s[2], "7450", port, 1))
		case strings.HasPrefix(s[1], "ORCHESTRATOR_"):
			p.workerEnv = append(p.workerEnv, s[0])
		default:
			p.gatewayEnv = append(p.gatewayEnv, s[0])
		}
	}
}

func (p *stagedProbes) run(t *testing.T, program string, env []string) *harness.Process {
	t.Helper()
	process, err := harness.Start(harness.Command{Path: p.programs.Path(program), Dir: p.dir, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s: %s", program, process.Stderr())
		}
	})
	return process
}

// start starts both services and has a message answered.
func (p *stagedProbes) start(t *testing.T) {
	t.Helper()
	p.workerProcess = p.run(t, "orchestrator", p.workerEnv)
	p.run(t, "gateway", p.gatewayEnv)
	p.sim.Inject(telegramsim.Incoming{ChatID: 1, Text: "hello"})
	p.heard(t, 1)
}

func (p *stagedProbes) heard(t *testing.T, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := p.sim.WaitForMessages(ctx, 1, count); err != nil {
		t.Fatal(err)
	}
}

// interruptATurn kills the worker in the middle of one; the person is asked what is to
// become of it.
func (p *stagedProbes) interruptATurn(t *testing.T) {
	t.Helper()
	p.sim.Inject(telegramsim.Incoming{ChatID: 1, Text: "!scenario hang\nx"})
	for deadline := time.Now().Add(time.Minute); strings.Count(p.workerProcess.Stderr(), "codex started") < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the turn never began: %s", p.workerProcess.Stderr())
		}
	}
	if err := p.workerProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	p.workerProcess = p.run(t, "orchestrator", p.workerEnv)
	p.heard(t, 2)
}

// shell types lines into one shell and returns each one's status and what it printed.
func (p *stagedProbes) shell(t *testing.T, lines []string) (outputs []string) {
	t.Helper()
	const end = "<end of the line>"
	var script strings.Builder
	addrs := strings.NewReplacer("127.0.0.1:7450", p.worker, "127.0.0.1:7451", p.gateway)
	for _, line := range lines {
		fmt.Fprintf(&script, "%s\necho \"%s$?\"\n", addrs.Replace(line), end)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh")
	shell.Dir, shell.Env = p.dir, append(append(os.Environ(), p.workerEnv...), p.gatewayEnv...)
	shell.Stdin = strings.NewReader(script.String())
	all, err := shell.CombinedOutput()
	parts := strings.Split(string(all), end)
	if len(parts) != len(lines)+1 {
		t.Fatalf("%d of %d lines were run (%v): %s", len(parts)-1, len(lines), err, all)
	}
	printed := parts[0]
	for _, part := range parts[1:] {
		status, next, _ := strings.Cut(part, "\n")
		outputs = append(outputs, status+" "+printed)
		printed = next
	}
	return outputs
}
