package codexsim

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// loginStatus is `codex login status`: logged in, unless FAKE_CODEX_LOGIN is no.
func loginStatus(getenv func(string) string, stderr io.Writer) int {
	if getenv("FAKE_CODEX_LOGIN") == "no" {
		fmt.Fprintln(stderr, "Not logged in")
		return exitFailed
	}
	fmt.Fprintln(stderr, "Logged in using an API key - "+StderrSecret)
	return 0
}

// sandbox is `codex sandbox`: it runs the command as it is, unless
// FAKE_CODEX_SANDBOX is no, as where the system refuses namespaces.
func sandbox(words []string, getenv func(string) string, p Process) int {
	if getenv("FAKE_CODEX_SANDBOX") == "no" {
		fmt.Fprintln(p.Stderr, "bwrap: No permissions to create a new namespace")
		return exitFailed
	}
	command := exec.Command(words[0], words[1:]...)
	command.Env, command.Stdin, command.Stdout, command.Stderr = p.Env, p.Stdin, p.Stdout, p.Stderr
	var failed *exec.ExitError
	switch err := command.Run(); {
	case errors.As(err, &failed):
		return failed.ExitCode()
	case err != nil:
		fmt.Fprintln(p.Stderr, "fakecodex:", err)
		return ExitInternal
	}
	return 0
}
