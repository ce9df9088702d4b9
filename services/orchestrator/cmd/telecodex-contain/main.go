// Command telecodex-contain stands between a worker and Codex where the system refuses namespaces: for each turn the worker starts
// it, it starts Codex, and kills what Codex leaves behind. A worker without it beside its own binary starts itself for that, which
// takes longer, being larger.
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
