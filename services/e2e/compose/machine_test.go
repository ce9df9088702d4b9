//go:build compose

package compose_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/responses"
)

const machineName = "telecodex-test-machine"

// machine is a container that is a Linux machine: systemd is its first process, and
// make install has put programs and units there.
type machine struct{ *stack }

// newMachine builds and starts it, with a simulated Telegram in it.
func newMachine(t *testing.T) machine {
	t.Helper()
	needCodex(t)
	dir := t.TempDir()
	must(t, nil, "make", "install", "DESTDIR="+filepath.Join(dir, "staging"), "PREFIX=/usr")
	must(t, nil, "cp", "bin/faketelegram", dir)
	codex, err := filepath.Abs(filepath.Join(root, "bin", "image", "codex"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := command(context.Background(), nil, "sh", "-c", `docker rm --force "$1" >&2; docker image rm --force "$1"`, "sh", machineName)
		if err != nil {
			t.Error(err)
		}
	})
	// The engine's own network may not reach the packages where this machine does.
	must(t, nil, "docker", "build", "--quiet", "--network=host", "--tag", machineName, "--build-arg", "BASE="+cmp.Or(os.Getenv("TELECODEX_BASE"), "debian:bookworm-slim"),
		"--file", "services/e2e/compose/testdata/machine.Dockerfile", dir)
	// What systemd needs to put services into namespaces, and no more: an engine may not have all that is privileged.
	must(t, nil, "docker", "run", "--detach", "--name", machineName, "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp",
		"--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined",
		"--volume", codex+":/opt/codex:ro", "--publish", "127.0.0.1:0:8081", machineName)
	m := machine{&stack{t: t}}
	t.Cleanup(func() {
		if t.Failed() {
			log, err := command(context.Background(), nil, "sh", "-c", `docker logs "$1" 2>&1; docker exec "$1" journalctl --no-pager --lines=80 2>&1`, "sh", machineName)
			t.Logf("%s%v", log, err)
		}
	})
	m.until("systemd is not there", func() (any, bool) {
		output, err := command(t.Context(), nil, "docker", "exec", machineName, "systemctl", "list-units", "--no-legend", "--state=active", "multi-user.target")
		return err, strings.Contains(output, "multi-user.target")
	})
	m.run("systemd-run --quiet --unit=telegram faketelegram --addr 0.0.0.0:8081")
	m.sim = simulator{t: t, url: "http://" + strings.TrimSpace(must(t, nil, "docker", "port", machineName, "8081/tcp"))}
	return m
}

// run runs a script as the machine's root.
func (m machine) run(script string) string {
	m.t.Helper()
	return must(m.t, nil, "docker", "exec", machineName, "sh", "-ec", script)
}

// write writes a file of the machine.
func (m machine) write(path, mode, content string) {
	m.t.Helper()
	must(m.t, nil, "docker", "exec", machineName, "sh", "-ec", `mkdir -p "$(dirname "$1")"; printf %s "$3" >"$1"; chmod "$2" "$1"`, "sh", path, mode, content)
}

// The units, as make install puts them on a machine, run under its systemd: the real
// Codex answers, its sandbox works for all that the units forbid, and doctor says so
// there; services that are restarted, or killed, in the middle of a turn lose nothing.
func TestTheUnitsRunOnAMachine(t *testing.T) {
	t.Parallel()
	const chat = 1001
	m := newMachine(t)
	host := strings.TrimSpace(must(t, nil, "docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"))
	slow := func(text string) []responses.Step {
		return []responses.Step{responses.Run("sleep 2"), responses.Say(text)}
	}
	provider, err := responses.StartAt(host, responses.Book{
		"first":               {responses.Run("echo heron > word && cat word && id -un; : > /var/lib/telecodex-orchestrator/outside"), responses.Say("Noted.")},
		"restart the gateway": slow("The gateway was restarted."),
		"restart the worker":  slow("The worker was restarted."),
		"kill the gateway":    slow("The gateway was killed."),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
	})
	m.write("/etc/telecodex/telegram_token", "600", "1000000:TEST-TOKEN\n")
	m.write("/etc/telecodex/gateway.env", "600", fmt.Sprintf("CHANNEL_TELEGRAM_API_URL=http://127.0.0.1:8081\nCHANNEL_ALLOWED_CHAT_IDS=%d\n", chat))
	m.write("/etc/telecodex/orchestrator.env", "600", "ORCHESTRATOR_CODEX_BIN=/opt/codex/bin/codex\nORCHESTRATOR_CODEX_ENV="+responses.KeyVariable+"="+responses.Key+"\n")
	m.write("/home/codex/.codex/config.toml", "644", provider.Config())
	m.write("/etc/systemd/system/telecodex-orchestrator.service.d/doctor.conf", "644", "[Service]\nExecStartPre=-/usr/bin/orchestrator doctor\n")
	m.run("chown -R codex: /home/codex; systemctl daemon-reload; systemctl enable --now telecodex-orchestrator telecodex-gateway")

	m.sim.write(chat, "first")
	m.answer(chat, "Noted.")
	said := m.run("journalctl --no-pager --unit=telecodex-orchestrator")
	for _, want := range []string{"ok    sandbox workspace-write: ", "ok    containment: namespace"} {
		if !strings.Contains(said, want) {
			t.Errorf("doctor does not say %q:\n%s", want, said)
		}
	}
	m.during(chat, "restart the gateway", "The gateway was restarted.", "systemctl restart telecodex-gateway")
	m.during(chat, "restart the worker", "The worker was restarted.", "systemctl restart telecodex-orchestrator")
	m.during(chat, "kill the gateway", "The gateway was killed.", "systemctl kill --signal=KILL telecodex-gateway")
	if sent := m.sim.messages(chat); len(sent) != 4 {
		t.Errorf("to four messages the bot said %v", sent)
	}
	var outputs []string
	for _, request := range provider.Requests() {
		outputs = append(outputs, request.Outputs...)
	}
	for _, want := range []string{"heron\ncodex", "Read-only file system"} {
		if !slices.ContainsFunc(outputs, func(output string) bool { return strings.Contains(output, want) }) {
			t.Errorf("no command says %q: %q", want, outputs)
		}
	}
	if state := m.run("systemctl is-active telecodex-orchestrator telecodex-gateway; stat -c %a /var/lib/telecodex-orchestrator /var/lib/private/telecodex-gateway"); state != "active\nactive\n700\n700\n" {
		t.Errorf("in the end: %s", state)
	}
}

// during does something to the services in the middle of a turn.
func (m machine) during(chat int64, text, answer, script string) {
	m.t.Helper()
	begun := func() int {
		return strings.Count(m.run("journalctl --no-pager --unit=telecodex-orchestrator"), `"msg":"codex started"`)
	}
	before := begun()
	m.sim.write(chat, text)
	m.until("the turn is not begun", func() (any, bool) { n := begun(); return n, n > before })
	m.run(script)
	m.answer(chat, answer)
	if n := begun(); n != before+1 {
		m.t.Errorf("%q ran %d times", text, n-before)
	}
}
