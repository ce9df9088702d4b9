package codex

import (
	"fmt"
	"strings"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// The texts that stand for what must not be shown: Codex's raw lines and its
// stderr may hold anything a command printed.
const (
	// IdleTimeoutMessage says that no event came for too long.
	IdleTimeoutMessage = "codex stream idle timeout"
	// ClosedMessage says that the output ended without a terminal event.
	ClosedMessage = "codex stream closed unexpectedly"
)

// BackendFailure is what failed around Codex.
type BackendFailure string

// The backend failures.
const (
	BackendSpawn          BackendFailure = "spawn"
	BackendWait           BackendFailure = "wait"
	BackendTimeout        BackendFailure = "timeout"
	BackendIO             BackendFailure = "io"
	BackendInvalidRequest BackendFailure = "invalid_request"
	BackendOther          BackendFailure = "other"
)

// BackendMessage is the text for a failure around Codex.
func BackendMessage(failure BackendFailure) string {
	return "codex backend error: " + string(failure)
}

// ExitMessage is the text for a Codex that left without success.
func ExitMessage(exit Exit) string {
	return fmt.Sprintf("codex exited non-zero: %s (stderr redacted)", exit.status())
}

// reason says what is wrong with a line. The list is closed: a reason never
// holds anything of the line.
type reason string

const (
	reasonNone reason = "" // the line is an event

	reasonTooLong    reason = "line too long"
	reasonNotJSON    reason = "not JSON"
	reasonTooDeep    reason = "nested too deeply"
	reasonNotObject  reason = "not a JSON object"
	reasonNoType     reason = "type is not a string"
	reasonNoThreadID reason = "thread_id is not a UUID"
	reasonNoMessage  reason = "message is not a string"
	reasonNoItem     reason = "item is not an object"
	reasonNoItemID   reason = "item.id is not a string"
	reasonNoItemType reason = "item.type is not a string"
	reasonNoText     reason = "item.text is not a string"
	reasonNoItemText reason = "item.message is not a string"
	reasonNoCommand  reason = "item.command is not a string"
	reasonNoChanges  reason = "item.changes is not an array"
	reasonNoServer   reason = "item.server is not a string"
	reasonNoTool     reason = "item.tool is not a string"
	reasonNoQuery    reason = "item.query is not a string"
	reasonNoSteps    reason = "item.items is not an array"
)

// lineError is the event that stands for a line that is no event.
func lineError(l line, phase orchestratorv1.LinePhase, why reason) *orchestratorv1.TurnEvent {
	word := "parse"
	if phase == orchestratorv1.LinePhase_LINE_PHASE_NORMALIZE {
		word = "normalize"
	}
	return &orchestratorv1.TurnEvent{
		Kind:    orchestratorv1.EventKind_EVENT_KIND_ERROR,
		Channel: channelError,
		Message: fmt.Sprintf("codex stream %s error (redacted): %s (line_bytes=%d)", word, why, l.size),
		Detail: &orchestratorv1.TurnEvent_LineError{LineError: &orchestratorv1.LineError{
			LineNumber: l.number, LineBytes: l.size, Phase: phase,
		}},
	}
}

// typeName is a type Codex made up, if it looks like one; else it may be
// anything, and is not shown.
func typeName(name string) string {
	if len(name) > maxTypeName || strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
	}) {
		return ""
	}
	return name
}
