package telecodex

import (
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/orchestrator"
)

// TestMain also makes the test binary what the programs make of themselves: the
// process that contains a child, and the scripted Codex.
func TestMain(m *testing.M) {
	orchestrator.Contain()
	Act()
	goleak.VerifyTestMain(m)
}
