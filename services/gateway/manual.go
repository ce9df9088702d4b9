package gateway

import (
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/health"
)

// Manual describes the program of cmd/gateway.
func Manual() command.Command {
	return command.Command{
		Name:     "gateway",
		Summary:  "serve a Telegram bot whose messages Codex works on",
		Synopsis: []string{"gateway [--flag value …]", "gateway healthcheck [--flag value …]"},
		Description: "Polls Telegram, lets in the chats that are allowed, has each session's messages worked on in order " +
			"by orchestrator workers, and sends the answers. Standard output carries one report of a cycle a line, as JSON; " +
			"the log goes to standard error.\n\n" +
			"A flag outweighs its variable, and that the default. Booleans are words of their own: --live-mode true.",
		Commands:  []command.Command{health.Page("gateway", "CHANNEL_LISTEN_ADDR", Flags())},
		Flags:     Flags(),
		Variables: Variables(),
		Statuses:  Statuses(),
		Files:     Files(),
		Examples: []command.Entry{
			{Name: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 gateway", Text: "Serve one chat with the worker at 127.0.0.1:7450."},
			{Name: "gateway --orchestrator-mode default", Text: "The rollback mode: answer with an echo, and keep what waits for Codex."},
		},
	}
}

// Variables are what a gateway reads beside its settings.
func Variables() []command.Flag {
	return []command.Flag{{Variable: "HTTPS_PROXY", Value: "URL", Help: "the proxy for calls of the Bot API; HTTP_PROXY and NO_PROXY mean what they usually do. Workers are never called through one"}}
}

// Statuses are how a gateway ends.
func Statuses() []command.Entry {
	return []command.Entry{
		{Name: "0", Text: "It was stopped by SIGTERM, or the cycle of --once went well."},
		{Name: "1", Text: "The cycle of --once failed or its report could not be written, or the gateway could not go on; the log says why."},
		{Name: "2", Text: `The configuration is invalid: {"status":"failed","reason":"invalid-config","error":"…"} on standard output says why.`},
		{Name: "130", Text: "It was interrupted (Ctrl+C)."},
	}
}

// Files are what a gateway leaves behind, at their defaults.
func Files() []command.Entry {
	return []command.Entry{
		{Name: ".channel_runtime/gateway.db", Text: "What must not be lost: updates, cursor, sessions, turns and answers (SQLite; -wal, -shm and .lock beside it)."},
		{Name: ".channel_runtime/telegram_cursor_state.json", Text: "The next offset, for those who look at it from outside."},
	}
}
