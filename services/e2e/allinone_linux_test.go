package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// allInOne starts telecodex with the scripted Codex and no port of its own.
func (s *system) allInOne(words []string, env ...string) *harness.Process {
	s.t.Helper()
	p, err := harness.Start(harness.Command{Path: built.Path("telecodex"), Args: words, Dir: s.dir, Env: append([]string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + s.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1000",
		"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR=", "CHANNEL_SEND_RATE=0", "ORCHESTRATOR_METRICS_ADDR=off",
		"ORCHESTRATOR_CODEX_BIN=" + built.Path("fakecodex"), "ORCHESTRATOR_CODEX_HOME=" + filepath.Join(s.dir, "codex"),
	}, env...)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = p
	return p
}

// Without a command it is `telecodex run`: the same message leads to the same report.
func TestTelecodexWithoutACommandRuns(t *testing.T) {
	t.Parallel()
	var reports []map[string]any
	for _, words := range [][]string{{"--once"}, {"run", "--once"}} {
		s := newSystem(t)
		s.say("hello")
		p := s.allInOne(words)
		s.wait("the cycle ends", p.Done())
		var report map[string]any
		if err := json.Unmarshal([]byte(p.Stdout()), &report); err != nil || p.Status() != 0 || report["sent_count"] != 1.0 {
			t.Fatalf("telecodex %q: status %d, %v: %s%s", words, p.Status(), err, p.Stdout(), p.Stderr())
		}
		if texts := s.heard(1); texts[0] != "You said: hello" {
			t.Errorf("telecodex %q: %q", words, texts)
		}
		delete(report["telemetry"].(map[string]any), "timers_ms")
		reports = append(reports, report)
	}
	if !reflect.DeepEqual(reports[0], reports[1]) {
		t.Errorf("without a command %v, with run %v", reports[0], reports[1])
	}
}

// The worker in telecodex is reached through memory: it opens no port.
func TestTheWorkerInTelecodexOpensNoPort(t *testing.T) {
	t.Parallel()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  []string
		want int
	}{
		{"none is asked for", nil, 0},
		{"the gateway's own", []string{"CHANNEL_LISTEN_ADDR=" + addr}, 1}, // by which it is known that ports are found
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSystem(t)
			p := s.allInOne(nil, tt.env...)
			s.say("hello")
			if texts := s.heard(1); texts[0] != "You said: hello" {
				t.Errorf("messages = %q", texts)
			}
			if ports := listening(t, p.PID()); len(ports) != tt.want {
				t.Errorf("it listens on %v", ports)
			}
		})
	}
}

// listening are the local addresses, in hexadecimal, and paths on which a process
// takes connections.
func listening(t *testing.T, pid int) (found []string) {
	t.Helper()
	open := map[string]bool{} // inodes
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(descriptors) == 0 {
		t.Fatalf("%d descriptors, %v", len(descriptors), err)
	}
	for _, descriptor := range descriptors {
		// One may be closed by now.
		if target, err := os.Readlink(descriptor); err == nil {
			open[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	// proc(5): the state is the fourth field (0A: listening), the inode the tenth; of a
	// Unix socket the fourth holds flags (00010000: listening) and the seventh the inode.
	for file, at := range map[string]struct {
		state string
		inode int
	}{"tcp": {"0A", 9}, "tcp6": {"0A", 9}, "unix": {"00010000", 6}} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if os.IsNotExist(err) { // no IPv6 here
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > at.inode && fields[3] == at.state && open[fields[at.inode]] {
				found = append(found, file+" "+fields[1])
			}
		}
	}
	return found
}
