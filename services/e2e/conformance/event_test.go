package conformance

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// oneof is the name of the field that is set in a oneof; empty when none is.
func oneof(message proto.Message, name protoreflect.Name) string {
	reflected := message.ProtoReflect()
	field := reflected.WhichOneof(reflected.Descriptor().Oneofs().ByName(name))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// item is the item of an event, nil when it has none.
func item(e *orchestratorv1.TurnEvent) *orchestratorv1.Item {
	switch detail := e.GetDetail().(type) {
	case *orchestratorv1.TurnEvent_ItemStarted:
		return detail.ItemStarted.GetItem()
	case *orchestratorv1.TurnEvent_ItemUpdated:
		return detail.ItemUpdated.GetItem()
	case *orchestratorv1.TurnEvent_ItemCompleted:
		return detail.ItemCompleted.GetItem()
	default:
		return nil
	}
}

// The scenario all_items holds one line for every type.
func TestEveryLineBecomesItsTypedEvent(t *testing.T) {
	const (
		text     = orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT
		call     = orchestratorv1.EventKind_EVENT_KIND_TOOL_CALL
		result   = orchestratorv1.EventKind_EVENT_KIND_TOOL_RESULT
		progress = orchestratorv1.EventKind_EVENT_KIND_STATUS
		wrong    = orchestratorv1.EventKind_EVENT_KIND_ERROR
		unknown  = orchestratorv1.EventKind_EVENT_KIND_UNKNOWN
	)
	want := []struct {
		detail  string
		item    string
		kind    orchestratorv1.EventKind
		channel string
	}{
		{"thread_started", "", progress, "status"},
		{"turn_started", "", progress, "status"},
		{"item_completed", "reasoning", text, "assistant"},
		{"item_started", "command_execution", call, "tool"},
		{"item_completed", "command_execution", result, "tool"},
		{"item_completed", "file_change", result, "tool"},
		{"item_updated", "todo_list", progress, "status"},
		{"item_completed", "web_search", result, "tool"},
		{"item_completed", "mcp_tool_call", result, "tool"},
		{"item_started", "collab_tool_call", call, "tool"},
		{"item_completed", "error", wrong, "error"},
		{"item_completed", "agent_message", text, "assistant"},
		{"codex_error", "", wrong, "error"},
		{"thread_started", "", progress, "status"},
		{"item_started", "command_execution", call, "tool"},
		{"item_updated", "command_execution", call, "tool"},
		{"item_completed", "command_execution", result, "tool"},
		{"item_completed", "collab_tool_call", result, "tool"},
		{"item_completed", "unknown", unknown, ""},
		{"unknown", "", unknown, ""},
		{"unknown", "", unknown, ""},
		{"item_completed", "agent_message", text, "assistant"},
		{"turn_completed", "", progress, "status"},
		{"finished", "", progress, "status"},
	}
	events := underTest.run(t, underTest.request(t, "all_items")).rest()
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, event := range events {
		var kind string
		if item := item(event); item != nil {
			kind = oneof(item, "kind")
		}
		if got := oneof(event, "detail"); got != want[i].detail || kind != want[i].item {
			t.Errorf("event %d is %s %s, want %s %s", i+1, got, kind, want[i].detail, want[i].item)
		}
		if event.GetKind() != want[i].kind || event.GetChannel() != want[i].channel {
			t.Errorf("event %d (%s %s) is %v on %q, want %v on %q", i+1, want[i].detail, want[i].item,
				event.GetKind(), event.GetChannel(), want[i].kind, want[i].channel)
		}
	}
	checkPayloads(t, events)
}

// checkPayloads looks at what the events of all_items hold.
func checkPayloads(t *testing.T, events []*orchestratorv1.TurnEvent) {
	t.Helper()
	at := func(line int) *orchestratorv1.TurnEvent { return events[line-1] }
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"reasoning", at(3).GetText(), "pondering hard"},
		{"command", item(at(5)).GetCommandExecution().GetCommand(), "/bin/bash -lc 'echo hi; exit 3'"},
		{"output", item(at(5)).GetCommandExecution().GetAggregatedOutput(), "hi\n"},
		{"exit code", item(at(5)).GetCommandExecution().GetExitCode(), int32(3)},
		{"no exit code yet", item(at(4)).GetCommandExecution().ExitCode == nil, true},
		{"status", item(at(5)).GetStatus(), "failed"},
		{"path", item(at(6)).GetFileChange().GetChanges()[0].GetPath(), "a.txt"},
		{"steps", len(item(at(7)).GetTodoList().GetItems()), 2},
		{"query", item(at(8)).GetWebSearch().GetQuery(), "golang grpc"},
		{"argument", item(at(9)).GetMcpToolCall().GetArguments().GetStructValue().GetFields()["text"].GetStringValue(), "hey"},
		{"agent", item(at(10)).GetCollabToolCall().GetTool(), "spawn_agent"},
		{"error", at(13).GetMessage(), "Reconnecting... 1/5 (unexpected status 401 Unauthorized: …)"},
		{"known only by name", at(20).GetUnknown().GetType(), "thread.compacted"},
		{"not even by name", at(21).GetUnknown().GetType(), ""},
		{"line separator", at(22).GetText(), "one line separator\u2028 and the last word"},
		{"answer", at(24).GetFinished().GetFinalText(), at(22).GetText()},
		{"tokens", at(23).GetTurnCompleted().GetUsage().GetInputTokens(), int64(120)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}
