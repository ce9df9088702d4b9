package codex

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator/internal/proctree"
)

// impostorVariable makes the test binary a program that is not Codex.
const impostorVariable = "CODEX_TEST_IMPOSTOR"

func TestMain(m *testing.M) {
	proctree.Main()
	if os.Getenv(impostorVariable) != "" {
		fmt.Println("impostor 1.0")
		return
	}
	dir, err := os.MkdirTemp("", "codex")
	if err == nil {
		fakeCodex, err = codexsim.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		_ = os.RemoveAll(dir)
		os.Exit(status)
	}))
}
