// Command orchestrator is a worker: it runs Codex for gateways.
package main

import (
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/orchestrator"
)

func main() {
	orchestrator.Contain()
	lifecycle.Main(orchestrator.Main)
}
