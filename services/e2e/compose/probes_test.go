//go:build compose

package compose_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// probed are the lines of a section of docs/PROBES.md that call a service.
func probed(t *testing.T, section string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "PROBES.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		for line := range strings.Lines(block[1]) {
			// A container's health check is this, with its own files.
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "bin/") {
				lines = append(lines, line)
			}
		}
	}
	if !found || len(lines) < 20 {
		t.Fatalf("%s: %d lines", section, len(lines))
	}
	return lines
}

// probe runs lines as one session of a shell, against services on other ports than
// the document's. Those that contain one of the words must be refused, the others
// must not. tls is where the certificates are.
func probe(t *testing.T, lines []string, worker, gateway, tls string, refused ...string) {
	t.Helper()
	tools, err := filepath.Abs(filepath.Join(root, ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tools, "grpcurl")); err != nil {
		t.Skip("SKIPPED, NOT TESTED: grpcurl is not there: `make .bin/grpcurl` builds it")
	}
	dir := t.TempDir()
	for name, target := range map[string]string{".bin": tools, "tls": tls} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	const end = "<end of the line>"
	script := "exec 2>&1\ncd '" + dir + "'\n"
	for _, line := range lines {
		script += strings.NewReplacer("127.0.0.1:7450", worker, "127.0.0.1:7451", gateway).Replace(line) + "\necho \"" + end + "$?\"\n"
	}
	outputs := strings.Split(must(t, nil, "sh", "-c", script), end)
	if len(outputs) != len(lines)+1 {
		t.Fatalf("%d lines, %d outputs", len(lines), len(outputs)-1)
	}
	for i, line := range lines {
		status, _, _ := strings.Cut(outputs[i+1], "\n")
		refusal := slices.ContainsFunc(refused, func(word string) bool { return strings.Contains(line, word) })
		if well := status == "0"; well == refusal {
			t.Errorf("%s\nends with %s:\n%s", line, status, outputs[i])
		}
	}
}

// The calls of docs/PROBES.md work as printed on the stack, a message answered and a
// turn interrupted.
func TestProbesWorkOnTheStack(t *testing.T) {
	t.Parallel()
	const chat = 123456789
	s := newStack(t, "telecodex-probes", []string{fmt.Sprint(chat)})
	worker := freePort(t)
	s.env = append(s.env, "ORCHESTRATOR_PORTS="+worker)
	s.compose("build", "--quiet")
	s.up(1)
	s.sim.write(chat, "hello")
	s.answer(chat, "You said: hello")
	s.sim.write(chat, "!scenario hang\nx")
	s.until("turns run", func() (any, bool) { running := s.running(); return running, running == 1 })
	s.kill(s.containers("orchestrator")...)
	s.up(1)
	s.answer(chat, "/again")
	probe(t, probed(t, "Without TLS"), "127.0.0.1:"+worker, s.gateway, "nowhere", "-max-time 1 ", "/MoveSession")
}
