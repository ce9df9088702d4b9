//go:build real

package real_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"telecodex.dev/services/e2e/internal/responses"
)

// doctor examines the real Codex, without a bot; first is a shell's words before
// it. The findings are "verdict detail" by the check's name.
func doctor(t *testing.T, first string, attributes *syscall.SysProcAttr) map[string]string {
	t.Helper()
	dir := scratch(t)
	home := filepath.Join(dir, "codex-home")
	if err := startProvider(t, responses.Book{}).WriteHome(home); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", first+` exec "$0" doctor --json`, binary(t, "telecodex"))
	command.Dir, command.SysProcAttr = dir, attributes
	command.Env = environment(map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir, "ORCHESTRATOR_CODEX_BIN": codexCommand(t), "ORCHESTRATOR_CODEX_HOME": home,
		"ORCHESTRATOR_CODEX_ENV": responses.KeyVariable, responses.KeyVariable: responses.Key,
	})
	output, err := command.Output() // 1: there is no bot
	var diagnosis struct {
		Checks []struct{ Name, Verdict, Detail string }
	}
	if json.Unmarshal(output, &diagnosis) != nil || bytes.Contains(output, []byte(responses.Key)) {
		t.Fatalf("%v: %s", err, output)
	}
	found := map[string]string{}
	for _, c := range diagnosis.Checks {
		found[c.Name] = c.Verdict + " " + c.Detail
	}
	return found
}

func mustFind(t *testing.T, found map[string]string, name, beginning, part string) {
	t.Helper()
	if text := found[name]; !strings.HasPrefix(text, beginning) || !strings.Contains(text, part) {
		t.Errorf("%s: %q, want %s and %q", name, text, beginning, part)
	}
}

func TestDoctorTriesTheRealCodex(t *testing.T) {
	found := doctor(t, "", nil)
	mustFind(t, found, "codex", "ok", nativeCodex(t)) // though the wrapper script was named
	mustFind(t, found, "codex version", "ok", "0.169.0")
	mustFind(t, found, "login", "warn", "chooses a provider")
	mustFind(t, found, "sandbox read-only", "ok", "a command ran in it")
	mustFind(t, found, "sandbox workspace-write", "ok", "a command ran in it")
}

// As in a container with the usual seccomp profile: no namespace can be made for
// a user.
func TestDoctorSeesThatTheSandboxCannotBeUsed(t *testing.T) {
	found := doctor(t, "echo 0 >/proc/sys/user/max_user_namespaces &&", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	mustFind(t, found, "codex version", "ok", "0.169.0")
	mustFind(t, found, "sandbox read-only", "fail", "no command of a turn will work")
	mustFind(t, found, "sandbox workspace-write", "fail", "no command of a turn will work")
}
