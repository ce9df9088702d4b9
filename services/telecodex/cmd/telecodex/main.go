// Command telecodex is gateway and orchestrator in one process, and the
// operator's commands.
package main

import (
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/telecodex"
)

func main() {
	orchestrator.Contain()
	telecodex.Act()
	lifecycle.Main(telecodex.Main)
}
