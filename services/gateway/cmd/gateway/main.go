// Command gateway serves a Telegram bot whose messages are worked on by Codex,
// at one or more orchestrator workers. --help lists its settings.
package main

import (
	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/lifecycle"
)

func main() { lifecycle.Main(gateway.Main) }
