//go:build real

package real_test

import (
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/responses"
)

func TestCancelFromTheChat(t *testing.T) {
	for _, mode := range sandboxModes {
		t.Run(mode, func(t *testing.T) {
			command, mark := sleepers()
			w := startWorker(t, startProvider(t, responses.Book{
				"Sleep":  {responses.Run(command), responses.Say("Awake.")},
				"Hello?": {responses.Say("Hello.")},
			}), map[string]string{"ORCHESTRATOR_ALLOWED_SANDBOXES": strings.Join(sandboxModes, ",")})
			api := startTelegram(t)
			g := startGateway(t, w, api.url, map[string]string{"CHANNEL_CODEX_SANDBOX_MODE": mode})

			api.say(t, 1001, "Sleep")
			await(t, turnTimeout, "all sleepers run", func() bool { return countExact(t, mark) == sleeperCount })
			api.say(t, 1001, "/cancel")
			w.mustLeaveNothing(t, mark, w.cmd.Process.Pid, g.cmd.Process.Pid) // the gateway's environment names the worker's socket

			// The chat goes on: what was cancelled is answered for, and the next message gets its answer.
			api.say(t, 1001, "Hello?")
			await(t, turnTimeout, "an answer after the cancelled turn", func() bool {
				heard := api.heardSoFar(t, 1001)
				return len(heard) > 1 && heard[len(heard)-1].Text == "Hello."
			})
			for _, message := range api.heardSoFar(t, 1001) {
				if message.Text == "Awake." {
					t.Error("the cancelled turn answered")
				}
			}
		})
	}
}
