package gateway

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// TestNoMoreIsHeldThanTheSessionsThatFit talks in more chats than there is room
// for, and looks at what the gateway says that it holds.
func TestNoMoreIsHeldThanTheSessionsThatFit(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	c := echo(t, sim.URL, out)
	free, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	c.MetricsAddr, c.SessionMax, c.SessionIdleTTL = free, 2, time.Hour
	holds := func(chats string) func() bool {
		return func() bool {
			answer, err := http.Get("http://" + c.MetricsAddr + "/metrics")
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			return strings.Contains(string(text), `telecodex_gateway_memory_entries{kind="chats"} `+chats+"\n") &&
				strings.Contains(string(text), `telecodex_gateway_memory_entries{kind="sessions"} `+chats+"\n") &&
				strings.Contains(string(text), `telecodex_gateway_memory_entries{kind="lanes"} 0`+"\n")
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	r := start(t, c, out)
	for id := range int64(20) {
		sim.Inject(telegramsim.Incoming{ChatID: 1 + id, Text: "hello"})
	}
	eventually(t, "all are answered", func() bool { return len(sim.Messages(20)) == 1 })
	eventually(t, "two are held", holds("2"))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	c.SessionIdleTTL = 20 * time.Millisecond
	start(t, c, out)
	sim.Inject(telegramsim.Incoming{ChatID: 1, Text: "again"})
	eventually(t, "it is answered", func() bool { return len(sim.Messages(1)) == 2 })
	eventually(t, "none is held", holds("0"))
}

func TestTheMemoryHookIsSaidToBeUnsupported(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	env := map[string]string{
		"CHANNEL_TOKEN": telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL": sim.URL, "CHANNEL_ORCHESTRATOR_MODE": "default",
		"CHANNEL_STORE": filepath.Join(t.TempDir(), "gateway.db"), "CHANNEL_CURSOR_STATE_PATH": "", "CHANNEL_ENABLE_MEMORY_HOOK": "true",
	}
	var stdout, stderr bytes.Buffer
	status := Main(t.Context(), []string{"--once"}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, &stdout, &stderr)
	if status != 0 || strings.Count(stdout.String(), "\n") != 1 || strings.Count(stderr.String(), "enable_memory_hook is not supported") != 1 {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout.String(), stderr.String())
	}
}
