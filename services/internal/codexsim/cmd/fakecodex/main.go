// Command fakecodex is a scripted stand-in for the Codex CLI. See package
// codexsim for its scenarios.
package main

import (
	"os"

	"telecodex.dev/services/internal/codexsim"
)

func main() { os.Exit(codexsim.Main()) }
