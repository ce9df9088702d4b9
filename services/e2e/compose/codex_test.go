//go:build compose

package compose_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/responses"
)

// needCodex skips a test where the image with the real Codex cannot be built, and
// stages it.
func needCodex(t *testing.T) {
	t.Helper()
	needEngine(t)
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: npm is not installed, so the image with the real Codex cannot be built")
	}
	if _, err := stagedCodex(); err != nil {
		t.Fatal(err)
	}
}

// stagedCodex stages it once: tests that build its image run side by side.
var stagedCodex = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return command(ctx, nil, "deploy/stage-codex")
})

// The real Codex of the image answers a person: it asks the provider, runs a command in
// its sandbox within the container, and goes on in the thread after the container
// was replaced.
func TestTheRealCodexAnswersInItsContainer(t *testing.T) {
	t.Parallel()
	needCodex(t)
	const chat = 1001
	s := newStack(t, "telecodex-codex", []string{"1001"}, "../services/e2e/compose/testdata/real-codex.yaml")
	s.compose("build", "--quiet")
	s.up(1)
	host := strings.TrimSpace(must(t, nil, "docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", s.project+"_default"))
	provider, err := responses.StartAt(host, responses.Book{
		"The word is heron.": {responses.Run("echo heron > word && cat word && id -u"), responses.Say("Noted.")},
		"Which word?":        {responses.Run("cat word; : > /var/lib/telecodex/outside"), responses.Recall()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
	})
	// Where the login of all slots is, as `codex login` would write it.
	s.compose("exec", "--no-TTY", "orchestrator", "sh", "-c", `printf %s "$1" >"$CODEX_HOME/config.toml"`, "sh", provider.Config())
	s.compose("restart", "orchestrator")

	s.sim.write(chat, "The word is heron.")
	s.answer(chat, "Noted.")
	s.compose("rm", "--force", "--stop", "orchestrator")
	s.up(1)
	s.sim.write(chat, "Which word?")
	s.answer(chat, "I remember 1:\nThe word is heron.")

	var outputs []string
	for _, request := range provider.Requests() {
		outputs = append(outputs, request.Outputs...)
	}
	for _, want := range []string{"heron\n10002", "Read-only file system"} {
		if !slices.ContainsFunc(outputs, func(output string) bool { return strings.Contains(output, want) }) {
			t.Errorf("no command says %q: %q", want, outputs)
		}
	}
}
