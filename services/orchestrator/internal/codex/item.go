package codex

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// item appends the events of an item. name is the type of the line.
func (n normalizer) item(batch []*event, name string, v value) ([]*event, reason) {
	var fields payloads
	fields.parse(v)
	id, kind := fields.member("id"), fields.member("type")
	switch {
	case !v.isObject():
		return batch, reasonNoItem
	case !id.isString():
		return batch, reasonNoItemID
	case !kind.isString():
		return batch, reasonNoItemType
	}
	item := &orchestratorv1.Item{
		Id:     cut(id.text(), maxItemID),
		Status: cut(fields.member("status").text(), maxStatus),
	}
	made := &event{OccurredAt: n.now}
	setItem(made, name, item)

	typed := kind.text()
	if typed == "agent_message" || typed == "reasoning" {
		text := fields.member("text")
		if !text.isString() {
			return batch, reasonNoText
		}
		return textEvents(batch, made, item, name, typed, text.text()), reasonNone
	}
	if why := n.fill(made, item, typed, &fields); why != reasonNone {
		return batch, why
	}
	if made.Channel == channelTool && name == "item.completed" {
		made.Kind = orchestratorv1.EventKind_EVENT_KIND_TOOL_RESULT
	}
	made.Dropped = fields.dropped
	return append(batch, made), reasonNone
}

// setItem puts the item into the event as what the line says of it.
func setItem(made *event, name string, item *orchestratorv1.Item) {
	switch name {
	case "item.started", "item.created":
		made.Detail = &orchestratorv1.TurnEvent_ItemStarted{ItemStarted: &orchestratorv1.ItemStarted{Item: item}}
	case "item.completed":
		made.Detail = &orchestratorv1.TurnEvent_ItemCompleted{ItemCompleted: &orchestratorv1.ItemCompleted{Item: item}}
	default:
		made.Detail = &orchestratorv1.TurnEvent_ItemUpdated{ItemUpdated: &orchestratorv1.ItemUpdated{Item: item}}
	}
}

// textEvents appends an event for each part of a text: first, then others like
// it. The parts share the text's memory.
func textEvents(batch []*event, first *event, item *orchestratorv1.Item, name, typed, text string) []*event {
	parts := countParts(text)
	for part := uint32(1); part <= parts; part++ {
		made := first
		if part > 1 {
			made = &event{OccurredAt: first.OccurredAt}
			item = &orchestratorv1.Item{Id: item.Id, Status: item.Status}
			setItem(made, name, item)
		}
		made.Kind, made.Channel = orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT, channelAssistant
		made.Text = cut(text, maxText)
		text = text[len(made.Text):]
		position := &orchestratorv1.TextPart{Part: part, Parts: parts}
		if typed == "agent_message" {
			item.Kind = &orchestratorv1.Item_AgentMessage{AgentMessage: &orchestratorv1.AgentMessage{TextPart: position}}
		} else {
			item.Kind = &orchestratorv1.Item_Reasoning{Reasoning: &orchestratorv1.Reasoning{TextPart: position}}
		}
		batch = append(batch, made)
	}
	return batch
}

// fill completes an event whose item is no text.
func (n normalizer) fill(made *event, item *orchestratorv1.Item, typed string, fields *payloads) reason {
	made.Kind, made.Channel = orchestratorv1.EventKind_EVENT_KIND_TOOL_CALL, channelTool
	switch typed {
	case "command_execution":
		return commandExecution(item, fields)
	case "file_change":
		return fileChange(item, fields)
	case "mcp_tool_call":
		return mcpToolCall(item, fields)
	case "web_search":
		return webSearch(item, fields)
	case "collab_tool_call":
		return collabToolCall(item, fields)
	case "todo_list":
		made.Kind, made.Channel = orchestratorv1.EventKind_EVENT_KIND_STATUS, channelStatus
		return todoList(made, item, fields)
	case "error":
		made.Kind, made.Channel = orchestratorv1.EventKind_EVENT_KIND_ERROR, channelError
		return errorItem(made, item, fields)
	default:
		n.stats.UnknownItems++
		made.Kind, made.Channel = orchestratorv1.EventKind_EVENT_KIND_UNKNOWN, ""
		item.Kind = &orchestratorv1.Item_Unknown{Unknown: &orchestratorv1.UnknownItem{Type: typeName(typed)}}
		return reasonNone
	}
}

func commandExecution(item *orchestratorv1.Item, fields *payloads) reason {
	if !fields.member("command").isString() {
		return reasonNoCommand
	}
	command := &orchestratorv1.CommandExecution{
		Command:          fields.text("command"),
		AggregatedOutput: fields.text("aggregated_output"),
	}
	if status, ok := fields.member("exit_code").integer(32); ok {
		command.ExitCode = proto.Int32(int32(status))
	}
	item.Kind = &orchestratorv1.Item_CommandExecution{CommandExecution: command}
	return reasonNone
}

func fileChange(item *orchestratorv1.Item, fields *payloads) reason {
	if !fields.member("changes").isArray() {
		return reasonNoChanges
	}
	change := &orchestratorv1.FileChange{}
	for element := range fields.array("changes").elements() {
		change.Changes = append(change.Changes, &orchestratorv1.FileUpdate{
			Path: element.member("path").text(), Kind: element.member("kind").text(),
		})
	}
	if !fields.keeps("changes", proto.Size(change)) {
		change.Reset()
	}
	item.Kind = &orchestratorv1.Item_FileChange{FileChange: change}
	return reasonNone
}

func mcpToolCall(item *orchestratorv1.Item, fields *payloads) reason {
	switch {
	case !fields.member("server").isString():
		return reasonNoServer
	case !fields.member("tool").isString():
		return reasonNoTool
	}
	failure := fields.member("error")
	if failure.isObject() {
		failure = failure.member("message")
	}
	item.Kind = &orchestratorv1.Item_McpToolCall{McpToolCall: &orchestratorv1.McpToolCall{
		Server:    fields.text("server"),
		Tool:      fields.text("tool"),
		Arguments: fields.value("arguments"),
		Result:    fields.value("result"),
		Error:     fields.bounded("error", failure),
	}}
	return reasonNone
}

func webSearch(item *orchestratorv1.Item, fields *payloads) reason {
	if !fields.member("query").isString() {
		return reasonNoQuery
	}
	item.Kind = &orchestratorv1.Item_WebSearch{WebSearch: &orchestratorv1.WebSearch{
		Query: fields.text("query"), Action: fields.value("action"),
	}}
	return reasonNone
}

func collabToolCall(item *orchestratorv1.Item, fields *payloads) reason {
	if !fields.member("tool").isString() {
		return reasonNoTool
	}
	call := &orchestratorv1.CollabToolCall{
		Tool:           fields.text("tool"),
		SenderThreadId: fields.text("sender_thread_id"),
		Prompt:         fields.text("prompt"),
		AgentsStates:   fields.value("agents_states"),
	}
	size := 0
	for element := range fields.array("receiver_thread_ids").elements() {
		id := element.text()
		size += len(id)
		call.ReceiverThreadIds = append(call.ReceiverThreadIds, id)
	}
	if !fields.keeps("receiver_thread_ids", size) {
		call.ReceiverThreadIds = nil
	}
	item.Kind = &orchestratorv1.Item_CollabToolCall{CollabToolCall: call}
	return reasonNone
}

func todoList(made *event, item *orchestratorv1.Item, fields *payloads) reason {
	if !fields.member("items").isArray() {
		return reasonNoSteps
	}
	list := &orchestratorv1.TodoList{}
	done, steps := 0, 0
	for element := range fields.member("items").elements() {
		steps++
		if element.member("completed").boolean() {
			done++
		}
	}
	for element := range fields.array("items").elements() {
		list.Items = append(list.Items, &orchestratorv1.TodoItem{
			Text: element.member("text").text(), Completed: element.member("completed").boolean(),
		})
	}
	if !fields.keeps("items", proto.Size(list)) {
		list.Reset()
	}
	made.Message = fmt.Sprintf("%d of %d steps done", done, steps)
	item.Kind = &orchestratorv1.Item_TodoList{TodoList: list}
	return reasonNone
}

func errorItem(made *event, item *orchestratorv1.Item, fields *payloads) reason {
	text := fields.member("message")
	if !text.isString() {
		return reasonNoItemText
	}
	made.Message = message(text.text())
	item.Kind = &orchestratorv1.Item_Error{Error: &orchestratorv1.ErrorItem{}}
	return reasonNone
}
