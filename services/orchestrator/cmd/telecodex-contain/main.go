// Command telecodex-contain stands between a worker and Codex. For each turn the worker starts it, and it arranges what Codex is to
// see and becomes Codex. A worker without it beside its own binary starts itself for that, which takes longer, being larger.
package main

import (
	"os"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

func main() {
	proctree.Main()
	_, _ = os.Stderr.WriteString("telecodex-contain is started by orchestrator and telecodex alone.\n")
	os.Exit(2)
}
