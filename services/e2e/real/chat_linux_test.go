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

func TestKilledWorkerIsToldInTheChat(t *testing.T) {
	command, mark := sleepers()
	w := startWorker(t, startProvider(t, responses.Book{
		"The word is heron.": {responses.Say("Noted.")},
		"Sleep":              {responses.Run(command), responses.Say("Awake.")},
		"Which word?":        {responses.Recall()},
	}), nil)
	api := startTelegram(t)
	g := startGateway(t, w, api.url, nil)

	api.askIn(t, 1001, 0, "The word is heron.")
	api.say(t, 1001, "Sleep")
	await(t, turnTimeout, "all sleepers run", func() bool { return countExact(t, mark) == sleeperCount })
	w.kill(t)
	w.mustLeaveNothing(t, mark, g.cmd.Process.Pid)
	w.start(t)

	if told := api.heard(t, 1001, 2)[1].Text; !strings.Contains(told, "may have partly run") || !strings.Contains(told, "/drop") {
		t.Errorf("the person is told %q", told)
	}
	if countExact(t, mark) != 0 {
		t.Error("the turn runs again though nobody asked for it")
	}
	api.say(t, 1001, "/drop")
	api.heard(t, 1001, 3)
	// Codex keeps what it was asked when it was killed.
	if got := api.askIn(t, 1001, 3, "Which word?"); got.Text != "I remember 2:\nThe word is heron.\nSleep" {
		t.Errorf("after the loss the thread says %q", got.Text)
	}
}
