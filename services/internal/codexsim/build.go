package codexsim

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles fakecodex into dir with the go command and returns the path of
// the binary. It is for tests that need the real process.
func Build(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "fakecodex")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	command := exec.CommandContext(ctx, "go", "build", "-o", path, "telecodex.dev/services/internal/codexsim/cmd/fakecodex")
	command.Env = append(command.Environ(), "CGO_ENABLED=0") // as the Makefile builds it: it starts faster
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fakecodex: %w: %s", err, output)
	}
	return path, nil
}
