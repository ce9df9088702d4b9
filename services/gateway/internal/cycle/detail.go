package cycle

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
)

// Codes of details.
const (
	FetchException      = "adapter-fetch-exception"
	ProcessingException = "update-processing-exception"
	AckFailed           = "ack-update-failed"
	CodexTimeout        = "codex-timeout"
	CodexExecFailed     = "codex-exec-failed"
	CodexInvalidAnswer  = "codex-invalid-response"
	CodexContract       = "codex-contract-violation"
	TurnInterrupted     = "turn-interrupted"
	TurnCancelled       = "turn-cancelled"
	DeliveryInDoubt     = "delivery-in-doubt"
	AllowlistDrop       = "allowlist-drop"
	StaleDrop           = "stale-drop"
	CursorLoadError     = "cursor-state-load-error"
	CursorSaveError     = "cursor-state-save-error"
	ProcessOnceFailed   = "runtime-process-once-exception"
	LoopCycleFailed     = "runtime-loop-cycle-exception"
	OrchestratorError   = "orchestrator-error"
	AdapterError        = "adapter-diagnostic-error"
	ServiceCycleError   = "service-cycle-error"
)

// Codes are the codes of all details.
func Codes() []string {
	return []string{FetchException, ProcessingException, AckFailed, CodexTimeout, CodexExecFailed, CodexInvalidAnswer, CodexContract,
		TurnInterrupted, TurnCancelled, DeliveryInDoubt, AllowlistDrop, StaleDrop, CursorLoadError, CursorSaveError, ProcessOnceFailed,
		LoopCycleFailed, OrchestratorError, AdapterError, ServiceCycleError}
}

// Categories of details.
const (
	categoryError = "error"
	categoryDrop  = "drop"
)

// kind is what a code says about a detail.
type kind struct {
	source, category, layer, operation string
	retryable                          bool
}

// HandleMessage is the operation of a ProcessingException that did not come from
// sending.
const HandleMessage = "handle_message"

// kindOf is the table of codes. A code it does not know is one of the
// orchestrator's, since those are the ones that come from elsewhere.
func kindOf(code string) kind {
	const once, orchestrator, adapter, wrapper = "process_once", "orchestrator.diagnostics", "adapter.diagnostics", "runtime-wrapper"
	switch code {
	case FetchException:
		return kind{once, categoryError, "service", "fetch_updates", true}
	case ProcessingException:
		return kind{once, categoryError, "service", "send_message", true}
	case DeliveryInDoubt:
		return kind{once, categoryError, "service", "send_message", false}
	case AckFailed:
		return kind{once, categoryError, "service", "ack_update", true}
	case CodexTimeout, CodexExecFailed:
		return kind{orchestrator, categoryError, "orchestrator", HandleMessage, true}
	case AllowlistDrop:
		return kind{orchestrator, categoryDrop, "gate", "allowlist_check", false}
	case StaleDrop:
		return kind{adapter, categoryDrop, "adapter", "stale_filter", false}
	case CursorLoadError:
		return kind{adapter, categoryError, "adapter", "cursor_state_load", true}
	case CursorSaveError:
		return kind{adapter, categoryError, "adapter", "cursor_state_save", true}
	case AdapterError:
		return kind{adapter, categoryError, "adapter", "", false}
	case ServiceCycleError:
		return kind{once, categoryError, "service", "", false}
	case ProcessOnceFailed:
		return kind{wrapper, categoryError, wrapper, "run_cycle", true}
	case LoopCycleFailed:
		return kind{wrapper, categoryError, wrapper, "run_loop", true}
	}
	return kind{orchestrator, categoryError, "orchestrator", HandleMessage, false}
}

// Detail is one thing that went wrong or was refused, before it is rendered.
type Detail struct {
	Code      string
	Message   string // for a person; no token, prompt or raw line
	UpdateID  int64  // 0: none
	ChatID    int64  // 0: none
	SessionID string
	// Operation takes the place of the code's own; empty: that one.
	Operation string
}

// render completes a detail by the table of codes and gives it its id.
func (d Detail) render() *diagnosticsv1.ErrorDetail {
	k := kindOf(d.Code)
	if d.Operation != "" {
		k.operation = d.Operation
	}
	r := &diagnosticsv1.ErrorDetail{
		Code:      d.Code,
		Message:   tidy(d.Message),
		Retryable: k.retryable,
		Context: &diagnosticsv1.ErrorContext{UpdateId: decimal(d.UpdateID), ChatId: decimal(d.ChatID), SessionId: d.SessionID,
			Layer: k.layer, Operation: k.operation},
		Source:   k.source,
		Category: k.category,
	}
	r.DiagnosticId = diagnosticID(r)
	return r
}

// diagnosticID is the same for the same detail, in every cycle and process.
func diagnosticID(d *diagnosticsv1.ErrorDetail) string {
	c := d.GetContext()
	sum := sha256.Sum256([]byte(strings.Join([]string{d.GetCode(), d.GetMessage(), c.GetUpdateId(), c.GetChatId(), c.GetSessionId(),
		c.GetLayer(), c.GetOperation(), d.GetCategory()}, "|")))
	return hex.EncodeToString(sum[:8])
}

// maxMessage is the length of a message in characters.
const maxMessage = 500

// tidy collapses whitespace and cuts a message to its length.
func tidy(message string) string {
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "\uFFFD")), " ")
	n := 0
	for i := range message {
		if n == maxMessage {
			return message[:i]
		}
		n++
	}
	return message
}

func decimal(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
