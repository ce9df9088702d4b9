//go:build real

package real_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/responses"
)

// smokeTimeout bounds the whole protocol: two turns of Codex, and three that come
// to none.
const smokeTimeout = 3 * time.Minute

// The protocol, live: everything is real but Telegram, the model and the person.
func TestLiveSmokeProtocol(t *testing.T) {
	const question = "Canary: say pong."
	provider := startProvider(t, responses.Book{question: {responses.Say("pong")}})
	dir := scratch(t)
	home := filepath.Join(dir, "codex_home")
	if err := provider.WriteHome(home); err != nil {
		t.Fatal(err)
	}
	api := startTelegram(t)
	p := launch(t, dir, environment(map[string]string{
		"PATH": filepath.Dir(codexCommand(t)) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME": dir,
		"CODEX_HOME":               home,
		"ORCHESTRATOR_CODEX_ENV":   responses.KeyVariable,
		responses.KeyVariable:      responses.Key,
		"CHANNEL_TOKEN":            botToken,
		"CHANNEL_TELEGRAM_API_URL": api.url,
		"CHANNEL_ALLOWED_CHAT_IDS": "1001",
	}), binary(t, "telecodex"), "smoke", "--live", "--wait-s", "60", "--out", filepath.Join(dir, "evidence"))
	for message := range 4 {
		await(t, smokeTimeout, "the next request for a message", func() bool {
			return strings.Count(p.stdout.String(), "send this message to the bot") > message
		})
		api.say(t, 1001, question)
	}
	await(t, smokeTimeout, "the end", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	if p.err != nil || strings.Count(p.stdout.String(), "\nPASS ") != 4 || !strings.Contains(p.stdout.String(), "\nGO: ") {
		t.Errorf("it ended with %v", p.err)
	}
	if heard := api.heard(t, 1001, 1); heard[0].Text != "pong" {
		t.Errorf("the bot said %q", heard[0].Text)
	}
}
