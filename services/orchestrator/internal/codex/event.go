package codex

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Channels of the envelope.
const (
	channelAssistant = "assistant"
	channelTool      = "tool"
	channelStatus    = "status"
	channelError     = "error"
)

// event is the envelope, without turn_id and sequence.
type event = orchestratorv1.TurnEvent

// normalizer turns JSON objects into events.
type normalizer struct {
	stats *Stats
	now   *timestamppb.Timestamp
}

// events appends the events of a line that is a JSON object: one, or several for
// a long text. When the line lacks what its type requires, it says why. A field
// that a person can do without is not required: a terminal event above all must
// not be lost over a detail.
func (n normalizer) events(batch []*event, object value) ([]*event, reason) {
	kind := object.member("type")
	if !kind.isString() {
		return batch, reasonNoType
	}
	var made *event
	var why reason
	switch name := kind.text(); name {
	case "thread.started", "thread.resumed":
		made, why = threadStarted(object)
	case "turn.started":
		made = status("turn started")
		made.Detail = &orchestratorv1.TurnEvent_TurnStarted{TurnStarted: &orchestratorv1.TurnStarted{}}
	case "turn.completed":
		made = turnCompleted(object)
	case "turn.failed":
		made = turnFailed(object)
	case "error":
		made, why = codexError(object)
	case "item.started", "item.created", "item.updated", "item.delta", "item.completed":
		return n.item(batch, name, object.member("item"))
	default:
		n.stats.UnknownEvents++
		made = &event{
			Kind:   orchestratorv1.EventKind_EVENT_KIND_UNKNOWN,
			Detail: &orchestratorv1.TurnEvent_Unknown{Unknown: &orchestratorv1.UnknownEvent{Type: typeName(name)}},
		}
	}
	if why != reasonNone {
		return batch, why
	}
	made.OccurredAt = n.now
	return append(batch, made), reasonNone
}

func status(text string) *event {
	return &event{Kind: orchestratorv1.EventKind_EVENT_KIND_STATUS, Channel: channelStatus, Message: text}
}

func threadStarted(object value) (*event, reason) {
	id := object.member("thread_id").text()
	if !IsThreadID(id) {
		return nil, reasonNoThreadID
	}
	made := status("thread started")
	made.Detail = &orchestratorv1.TurnEvent_ThreadStarted{ThreadStarted: &orchestratorv1.ThreadStarted{ThreadId: id}}
	return made, reasonNone
}

func turnCompleted(object value) *event {
	made := status("turn completed")
	completed := &orchestratorv1.TurnCompleted{}
	if usage := object.member("usage"); usage.isObject() {
		completed.Usage = &orchestratorv1.Usage{
			InputTokens:           count(usage, "input_tokens"),
			CachedInputTokens:     count(usage, "cached_input_tokens"),
			CacheWriteInputTokens: count(usage, "cache_write_input_tokens"),
			OutputTokens:          count(usage, "output_tokens"),
			ReasoningOutputTokens: count(usage, "reasoning_output_tokens"),
		}
	}
	made.Detail = &orchestratorv1.TurnEvent_TurnCompleted{TurnCompleted: completed}
	return made
}

// count reads a number of tokens.
func count(usage value, name string) int64 {
	n, _ := usage.member(name).integer(64)
	return max(n, 0)
}

func turnFailed(object value) *event {
	why := message(object.member("error").member("message").text())
	if why == "" {
		why = "turn failed"
	}
	made := status(why)
	made.Detail = &orchestratorv1.TurnEvent_TurnFailed{TurnFailed: &orchestratorv1.TurnFailed{}}
	return made
}

func codexError(object value) (*event, reason) {
	text := object.member("message")
	if !text.isString() {
		return nil, reasonNoMessage
	}
	return &event{
		Kind:    orchestratorv1.EventKind_EVENT_KIND_ERROR,
		Channel: channelError,
		Message: message(text.text()),
		Detail:  &orchestratorv1.TurnEvent_CodexError{CodexError: &orchestratorv1.CodexError{}},
	}, reasonNone
}
