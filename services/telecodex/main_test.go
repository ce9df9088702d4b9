package telecodex

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator"
)

// TestMain also makes the test binary what the programs make of themselves: the
// process that contains a child, and the scripted Codex.
func TestMain(m *testing.M) {
	orchestrator.Contain()
	Act()
	dir, err := os.MkdirTemp("", "telecodex-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build = sync.OnceValues(func() (string, error) { return codexsim.Build(context.Background(), dir) })
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(dir)
		os.Exit(status)
	}))
}

// build makes the scripted Codex a program of its own, which starts quicker than a
// test binary.
var build func() (path string, err error)

func fakecodex(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
