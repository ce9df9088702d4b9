// Package codex runs the Codex CLI and speaks its language: it builds the command
// line and the environment of a turn, starts the process, and turns every line of
// its JSONL output into typed, bounded events of the contract. It is the only place
// that sees what Codex prints; raw lines and stderr end here. Codex may change its
// output at any time, so nothing in it is fatal: what is not understood becomes an
// event that says so.
package codex

import (
	"context"
	"fmt"
	"regexp"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// The range of Codex versions this package was tested with.
const (
	TestedVersionMin = "0.169.0"
	TestedVersionMax = "0.169.0"
)

// Request is one turn for Codex. It has been validated.
type Request struct {
	ThreadID string   // UUID of the thread to resume; empty: a new one
	Prompt   string   // given on stdin
	Dir      string   // absolute; the process's directory and Codex's -C
	Sandbox  string   // --sandbox
	Approval string   // --ask-for-approval; empty: the flag is absent
	Model    string   // -m; empty: the flag is absent
	Env      []string // complete, see Environment
	Mask     []string // files and directories Codex must not see, see proctree.Spec
	Keep     []string // what stays visible beneath Mask, see proctree.Spec
}

// Engine runs turns.
type Engine interface {
	// Start starts a turn. Its error is a *SpawnError.
	Start(Request) (Run, error)
	// Version is the version of the installed Codex, such as "0.169.0".
	Version(ctx context.Context) (string, error)
}

// Run is a turn under way. Next must be called until it returns an error, by one
// goroutine; everything else may be called at any time by any.
type Run interface {
	// Next returns the events of the next line or lines, see Decoder.Next.
	Next() ([]*orchestratorv1.TurnEvent, error)
	// Stats counts what Next has decoded; for the goroutine that calls Next.
	Stats() Stats
	// Interrupt asks Codex to stop (SIGINT).
	Interrupt()
	// Kill ends Codex and every descendant.
	Kill()
	// Done is closed when Codex is reaped and no descendant is left.
	Done() <-chan struct{}
	// Wait blocks until Done and says how Codex ended.
	Wait() Exit
}

// Exit is how Codex ended.
type Exit struct {
	Code   *int32                      // exit status; nil when a signal ended it or nobody knows
	Signal string                      // such as SIGKILL; empty when it exited
	Class  orchestratorv1.FailureClass // what its last words on stderr look like
	Err    error                       // why its end could not be observed
}

// status is the exit in words.
func (e Exit) status() string {
	switch {
	case e.Code != nil:
		return fmt.Sprintf("exit status %d", *e.Code)
	case e.Signal != "":
		return "signal " + e.Signal
	default:
		return "unknown status"
	}
}

var threadID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsThreadID tells whether id is a UUID in the form Codex writes. Codex takes any
// other for a name it does not know and silently starts a new thread.
func IsThreadID(id string) bool { return threadID.MatchString(id) }
