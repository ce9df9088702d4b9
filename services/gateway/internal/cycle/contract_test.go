package cycle_test

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
)

// contract is every key that readers of a report expect, and its JSON type.
var contract = []string{
	"acked_count number",
	"ack_skipped_count number",
	"dropped_count number",
	"dropped_updates[] list",
	"dropped_updates[].chat_id string",
	"dropped_updates[].reason string",
	"dropped_updates[].update_id string",
	"error_count number",
	"error_details[] list",
	"error_details[].category string",
	"error_details[].code string",
	"error_details[].context object",
	"error_details[].context.chat_id string",
	"error_details[].context.layer string",
	"error_details[].context.operation string",
	"error_details[].context.session_id string",
	"error_details[].context.update_id string",
	"error_details[].diagnostic_id string",
	"error_details[].message string",
	"error_details[].retryable boolean",
	"error_details[].source string",
	"errors[] list",
	"errors[] string",
	"fetched_count number",
	"heartbeat_emit_failures number",
	"reason string",
	"sent_count number",
	"status string",
	"telemetry object",
	"telemetry.contract string",
	"telemetry.counters object",
	"telemetry.counters.drop_total number",
	"telemetry.counters.fetch_total number",
	"telemetry.counters.heartbeat_emit_failures number",
	"telemetry.counters.queue_depth number",
	"telemetry.counters.retry_total number",
	"telemetry.counters.send_total number",
	"telemetry.counters.worker_restart_total number",
	"telemetry.heartbeat object",
	"telemetry.heartbeat.emit_state string",
	"telemetry.placeholders object",
	"telemetry.placeholders.queue_depth string",
	"telemetry.placeholders.retry_total string",
	"telemetry.placeholders.worker_restart_total string",
	"telemetry.timers_ms object",
	"telemetry.timers_ms.cycle_total number",
	"telemetry.timers_ms.fetch number",
	"telemetry.timers_ms.send number",
	"telemetry.version string",
}

// TestTheContractIsTheMessage holds the list above against the message's
// descriptor, so that neither can change without the other.
func TestTheContractIsTheMessage(t *testing.T) {
	want := append([]string(nil), contract...)
	sort.Strings(want)
	var got []string
	describe((&telemetryv1.CycleReport{}).ProtoReflect().Descriptor(), "", &got)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// describe lists the keys of a message as its JSON has them. Optional fields,
// enums, maps, bytes and 64-bit integers have no place in a report.
func describe(m protoreflect.MessageDescriptor, prefix string, keys *[]string) {
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		path := prefix + string(field.Name())
		if field.IsList() {
			path += "[]"
			*keys = append(*keys, path+" list")
		}
		switch {
		case field.HasOptionalKeyword(), field.IsMap():
			*keys = append(*keys, path+" must not be there")
		case field.Kind() == protoreflect.MessageKind:
			if !field.IsList() {
				*keys = append(*keys, path+" object")
			}
			describe(field.Message(), path+".", keys)
		case field.Kind() == protoreflect.StringKind:
			*keys = append(*keys, path+" string")
		case field.Kind() == protoreflect.BoolKind:
			*keys = append(*keys, path+" boolean")
		case field.Kind() == protoreflect.Int32Kind:
			*keys = append(*keys, path+" number")
		default:
			*keys = append(*keys, path+" "+field.Kind().String())
		}
	}
}

// TestEveryKeyIsRendered holds the JSON of a report against the list; it has
// something in every list.
func TestEveryKeyIsRendered(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	c.Fetched(cycle.Batch{Dropped: refused(1), Failed: fmt.Errorf("<%s>", "failed")})
	line, err := cycle.JSON(s.reports[0])
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(line, &tree); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	walk(tree, "", seen)
	want := map[string]bool{}
	for _, k := range contract {
		want[k] = true
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if got := string(line); !strings.HasPrefix(got, `{"ack_skipped_count":0,"acked_count":1,"dropped_count":1,`) ||
		!strings.Contains(got, "<failed>") || strings.Contains(got, "\n") {
		t.Errorf("line %s", got)
	}
}

func walk(value any, path string, seen map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		if path != "" && path[len(path)-1] != ']' {
			seen[path+" object"] = true
		}
		for name, inner := range v {
			walk(inner, join(path, name), seen)
		}
	case []any:
		seen[path+"[] list"] = true
		for _, inner := range v {
			walk(inner, path+"[]", seen)
		}
	case string:
		seen[path+" string"] = true
	case bool:
		seen[path+" boolean"] = true
	case float64:
		seen[path+" number"] = true
	default:
		seen[fmt.Sprintf("%s %T", path, v)] = true
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// TestEmptyListsAndTextsAreThere: what is absent is empty, not missing.
func TestEmptyListsAndTextsAreThere(t *testing.T) {
	for want, m := range map[string]proto.Message{
		`{"category":"","code":"","context":{"chat_id":"","layer":"","operation":"","session_id":"","update_id":""},` +
			`"diagnostic_id":"","message":"","retryable":false,"source":""}`: &diagnosticsv1.ErrorDetail{Context: &diagnosticsv1.ErrorContext{}},
		`{"chat_id":"","reason":"","update_id":""}`: &telemetryv1.DroppedUpdate{},
	} {
		if got, err := cycle.JSON(m); err != nil || string(got) != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
}
