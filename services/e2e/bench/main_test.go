package bench

import (
	"context"
	"sync"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
)

// programs builds what is measured, once, and not at all where nothing is.
var programs func() (harness.Programs, error)

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (func() error, error) {
		programs = sync.OnceValues(func() (harness.Programs, error) {
			return harness.Build(context.Background(), dir, "gateway", "orchestrator", "fakecodex")
		})
		return nil, nil
	})
}
