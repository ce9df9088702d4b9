//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// telecodex starts the all-in-one with the settings of this system, through a
// shell that can take something away from it first.
func (s *system) telecodex(first string, words ...string) *harness.Process {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "codex"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	p, err := harness.Start(harness.Command{Path: "/bin/sh", Args: append([]string{"-c", first + ` exec "$0" "$@"`, built.Path("telecodex")}, words...), Dir: s.dir, Env: []string{
		"CHANNEL_TOKEN=" + telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL=" + s.sim.URL, "CHANNEL_ALLOWED_CHAT_IDS=1000",
		"CHANNEL_LISTEN_ADDR=unix://operator.sock", "CHANNEL_METRICS_ADDR=", "ORCHESTRATOR_METRICS_ADDR=off",
		"ORCHESTRATOR_CODEX_BIN=" + built.Path("fakecodex"), "ORCHESTRATOR_CODEX_HOME=" + filepath.Join(s.dir, "codex"),
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// doctor examines this system: exit status, and "verdict detail" by the check's
// name.
func (s *system) doctor(first string) (status int, found map[string]string) {
	s.t.Helper()
	p := s.telecodex(first, "doctor", "--json")
	s.wait("the doctor comes to an end", p.Done())
	var diagnosis struct {
		Checks []struct{ Name, Verdict, Detail string }
	}
	if err := json.Unmarshal([]byte(p.Stdout()), &diagnosis); err != nil {
		s.t.Fatalf("%v: %s%s", err, p.Stdout(), p.Stderr())
	}
	found = map[string]string{}
	for _, c := range diagnosis.Checks {
		found[c.Name] = c.Verdict + " " + c.Detail
	}
	return p.Status(), found
}

func (s *system) expect(found map[string]string, name, beginning, part string) {
	s.t.Helper()
	if text := found[name]; !strings.HasPrefix(text, beginning) || !strings.Contains(text, part) {
		s.t.Errorf("%s: %q, want %s and %q", name, text, beginning, part)
	}
}

func TestDoctorSeesAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	status, found := s.doctor("ulimit -f 0;")
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, name := range []string{"store", "state directory", "workspace"} {
		s.expect(found, name, "fail", "the disk is full")
	}
	s.expect(found, "cursor", "warn", "the disk is full") // which the store has, too
}

func TestDoctorSeesWhatThisUserMayNotWrite(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	// What the programs themselves need, whoever runs them.
	for _, dir := range []string{s.dir, filepath.Dir(s.dir), filepath.Dir(built.Path("telecodex"))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var first string
	if os.Getuid() == 0 { // to whom modes mean nothing
		first = `[ "$(id -u)" = 0 ] && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$0" "$@";`
	} else if err := os.Chmod(s.dir, 0o555); err != nil {
		t.Fatal(err)
	}
	status, found := s.doctor(first)
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, name := range []string{"store", "state directory", "workspace"} {
		s.expect(found, name, "fail", "cannot be written: permission denied")
	}
}

// What runs is not disturbed: no poll of Telegram but the bot's own, no file
// of its own made or replaced, and its turns go on.
func TestDoctorLeavesARunningBotAlone(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	bot := s.telecodex("", "run")
	s.gateway = bot
	s.say("before")
	s.heard(1)
	parked := func(state telegramsim.State) bool { return state.Parked }
	before, err := s.sim.WaitForState(t.Context(), parked)
	if err != nil {
		t.Fatal(err)
	}
	files := s.files()
	status, found := s.doctor("")
	if status != 0 {
		t.Errorf("status %d, %v", status, found)
	}
	s.expect(found, "poller", "ok", "the gateway that uses the store")
	for _, name := range []string{"store", "cursor", "state directory", "workspace"} {
		if text := found[name]; strings.HasPrefix(text, "fail") || !strings.Contains(text, "only looked at") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if after := s.sim.State(); after.Polls > before.Polls+1 { // a long poll may have ended by itself
		t.Errorf("polls: %d, then %d", before.Polls, after.Polls)
	}
	if now := s.files(); now != files {
		t.Errorf("files before\n%s\nafter\n%s", files, now)
	}
	s.say("after")
	if texts := s.heard(2); texts[1] != "You said: after" {
		t.Errorf("messages %q", texts)
	}
}

// files are the names and inodes of what the bot has written. The gateway's
// beat and the checkpoints of SQLite change content and times by themselves.
func (s *system) files() string {
	s.t.Helper()
	var b strings.Builder
	for _, dir := range []string{".channel_runtime", ".orchestrator"} {
		err := filepath.WalkDir(filepath.Join(s.dir, dir), func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %d\n", path, info.Sys().(*syscall.Stat_t).Ino)
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return b.String()
}
