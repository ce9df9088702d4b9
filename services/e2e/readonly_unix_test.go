//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// TestWhatMayNotBeWrittenIsSaidAndLosesNothing starts both services where they may
// not write: as somebody else than who owns the disk, which is what a read-only one
// comes to.
func TestWhatMayNotBeWrittenIsSaidAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("before")
	s.heard(1)
	s.stop(s.gateway, s.gateway.Done())
	s.stop(s.worker, s.worker.Done())
	s.say("meanwhile")
	for _, dir := range []string{s.dir, filepath.Dir(s.dir), filepath.Dir(built.Path("telecodex"))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mode := func(dirs, files os.FileMode) {
		for _, part := range []string{".channel_runtime", "worker", filepath.Join("worker", "private")} {
			if err := os.Chmod(filepath.Join(s.dir, part), dirs); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{".channel_runtime/gateway.db", ".channel_runtime/gateway.db.lock", "worker/private/lock", "worker/private/journal.db"} {
			if err := os.Chmod(filepath.Join(s.dir, file), files); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode(0o555, 0o444)
	first := `exec "$0" "$@"`
	if os.Getuid() == 0 { // to whom modes mean nothing
		first = `exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$0" "$@"`
	}
	for program, env := range map[string][]string{
		"gateway": {"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + s.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1000",
			"CHANNEL_LISTEN_ADDR=", "CHANNEL_METRICS_ADDR="},
		"orchestrator": {"ORCHESTRATOR_STATE_DIR=" + filepath.Join(s.dir, "worker"), "ORCHESTRATOR_LISTEN_ADDR=" + s.addr, "ORCHESTRATOR_METRICS_ADDR=off"},
	} {
		p, err := harness.Start(harness.Command{Path: "/bin/sh", Args: []string{"-c", first, built.Path(program)}, Dir: s.dir, Env: env})
		if err != nil {
			t.Fatal(err)
		}
		s.wait("it gives up", p.Done())
		if p.Status() == 0 || !strings.Contains(p.Stderr(), "permission denied") {
			t.Errorf("%s: status %d, %s", program, p.Status(), p.Stderr())
		}
	}
	mode(0o755, 0o600)
	s.startWorker()
	s.startGateway(nil)
	if texts := s.heard(2); texts[1] != "You said: meanwhile" {
		t.Errorf("messages = %q", texts)
	}
	if started, _ := s.runs("before"); started != 1 {
		t.Errorf("the answered turn ran %d times", started)
	}
}
