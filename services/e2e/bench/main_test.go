package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/harness"
)

// programs builds what is measured, once, and not at all where nothing is.
var programs func() (harness.Programs, error)

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs = sync.OnceValues(func() (harness.Programs, error) {
		return harness.Build(context.Background(), dir, "gateway", "orchestrator", "fakecodex")
	})
	status = m.Run()
	return status, goleak.Find()
}
