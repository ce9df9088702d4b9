package telecodex

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"telecodex.dev/services/internal/lifecycle"
)

// choice is the Codex that a demonstration runs.
type choice struct {
	bin  string
	home string // its CODEX_HOME; empty: the person's own
	key  string // for CODEX_API_KEY; empty: Codex has its own credentials
	why  string // for the person
}

// loginPatience is how long `codex login status` may take; it asks no network.
const loginPatience = 10 * time.Second

// chooseCodex takes the installed Codex where a turn can succeed with it, and
// else the scripted one, made in dir.
func chooseCodex(ctx context.Context, env lifecycle.Lookup, dir string) (choice, error) {
	if bin := env.Getenv("ORCHESTRATOR_CODEX_BIN"); bin != "" {
		return choice{bin: bin, why: "the one that ORCHESTRATOR_CODEX_BIN names"}, nil
	}
	bin, err := exec.LookPath("codex")
	if err != nil {
		return scripted(dir, "codex is not installed")
	}
	if key := env.Getenv("CODEX_API_KEY"); key != "" {
		return choice{bin: bin, key: key, why: "yours, with CODEX_API_KEY"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	// Its output names the account, so only its status is looked at.
	if err := exec.CommandContext(ctx, bin, "login", "status").Run(); err != nil {
		return scripted(dir, "codex is not logged in: `codex login` mends that")
	}
	return choice{bin: bin, why: "yours, logged in"}, nil
}

// scripted makes this program available under the name that makes it play Codex.
func scripted(dir, reason string) (choice, error) {
	name := scriptedName
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(dir, name)
	self, err := os.Executable()
	if err == nil {
		err = place(self, path)
	}
	if err != nil {
		return choice{}, fmt.Errorf("prepare the scripted Codex: %w", err)
	}
	return choice{bin: path, home: filepath.Join(dir, "codex"), why: "scripted (" + reason + ")"}, nil
}

// place links a program to a second path, or copies it where links cannot reach.
func place(program, path string) error {
	if os.Link(program, path) == nil {
		return nil
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}
