package server

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/turn"
)

// Bounds of a RunTurnRequest, as its fields document them.
const (
	maxTurnID    = 128
	maxSessionID = 256
	maxPrompt    = 1 << 20
	maxTimeout   = 7 * 24 * time.Hour
)

// checkIdentity checks the fields that say which turn it is.
func checkIdentity(r *orchestratorv1.RunTurnRequest) error {
	if err := checkTurnID(r.GetTurnId()); err != nil {
		return err
	}
	if err := checkPrintable("session_id", r.GetSessionId(), maxSessionID); err != nil {
		return err
	}
	if id := r.GetThreadId(); id != "" && !codex.IsThreadID(id) {
		return invalid("thread_id", "must be a UUID")
	}
	return checkPrompt(r.GetPrompt())
}

// identity is the part of a turn that makes it the same turn.
func identity(r *orchestratorv1.RunTurnRequest) turn.Spec {
	return turn.Spec{
		TurnID:     r.GetTurnId(),
		SessionID:  r.GetSessionId(),
		WorkingDir: r.GetWorkingDir(),
		Codex:      codex.Request{ThreadID: r.GetThreadId(), Prompt: r.GetPrompt()},
	}
}

func checkTurnID(id string) error { return checkPrintable("turn_id", id, maxTurnID) }

func checkPrintable(field, value string, limit int) error {
	switch {
	case value == "":
		return invalid(field, "must not be empty")
	case len(value) > limit:
		return invalid(field, fmt.Sprintf("must have at most %d bytes", limit))
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
		return invalid(field, "must be printable ASCII")
	}
	return nil
}

func checkPrompt(prompt string) error {
	switch {
	case strings.TrimSpace(prompt) == "":
		return invalid("prompt", "must not be empty")
	case len(prompt) > maxPrompt:
		return invalid("prompt", fmt.Sprintf("must have at most %d bytes", maxPrompt))
	case strings.ContainsRune(prompt, 0):
		return invalid("prompt", "must not contain NUL")
	case !utf8.ValidString(prompt):
		return invalid("prompt", "must be UTF-8")
	}
	return nil
}

// spec checks the rest of a request and makes a turn of it. Extension keys come
// first: a caller that needs what this worker does not have is to learn that
// before anything else.
func (s *Server) spec(r *orchestratorv1.RunTurnRequest) (turn.Spec, error) {
	policy, err := codex.ParsePolicy(r.GetExtensions(), s.o.Sandboxes)
	if err != nil {
		return turn.Spec{}, failure(err)
	}
	spec := identity(r)
	if spec.Timeout, err = timeout(r); err != nil {
		return turn.Spec{}, err
	}
	if err := codex.CheckRequestEnv(r.GetEnv()); err != nil {
		return turn.Spec{}, failure(err)
	}
	if spec.Codex.Dir, err = s.o.Workspaces.Dir(r.GetSessionId(), r.GetWorkingDir()); err != nil {
		return turn.Spec{}, failure(err)
	}
	spec.MakeDir = r.GetWorkingDir() == ""
	spec.Codex.Sandbox, spec.Codex.Approval, spec.Codex.Model = policy.Sandbox, policy.Approval, policy.Model
	spec.Codex.Env = codex.Environment(s.o.Base, s.o.Env, r.GetEnv())
	spec.Codex.Mask, spec.Codex.Keep = s.o.Mask, s.o.Keep
	return spec, nil
}

func timeout(r *orchestratorv1.RunTurnRequest) (time.Duration, error) {
	if r.GetTimeout() == nil {
		return 0, nil
	}
	// Compared in seconds: a Duration of protobuf reaches further than Go's.
	limit := r.GetTimeout()
	if limit.CheckValid() != nil || limit.GetSeconds() > int64(maxTimeout/time.Second) || limit.AsDuration() <= 0 || limit.AsDuration() > maxTimeout {
		return 0, invalid("timeout", "must be above zero and at most 7 days")
	}
	return limit.AsDuration(), nil
}

// checkJournal refuses a caller that expects another disk.
func (s *Server) checkJournal(expected string) error {
	if expected != "" && expected != s.o.Journal.ID() {
		return errJournalMismatch
	}
	return nil
}
