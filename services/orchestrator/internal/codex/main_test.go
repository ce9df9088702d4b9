package codex

import (
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

func TestMain(m *testing.M) {
	proctree.Main()
	goleak.VerifyTestMain(m)
}
