package cycle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
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

// event is every key that a heartbeat's receiver expects.
var event = []string{
	"context object",
	"context.category string",
	"context.code string",
	"context.context object",
	"context.context.chat_id string",
	"context.context.layer string",
	"context.context.operation string",
	"context.context.session_id string",
	"context.context.update_id string",
	"context.diagnostic_id string",
	"context.error_count number",
	"context.heartbeat object",
	"context.heartbeat.emit_state string",
	"context.message string",
	"context.reason string",
	"context.retryable boolean",
	"context.source string",
	"context.status string",
	"context.telemetry_digest object",
	"context.telemetry_digest.cycle_total_ms number",
	"context.telemetry_digest.drop_total number",
	"context.telemetry_digest.fetch_total number",
	"context.telemetry_digest.send_total number",
	"session_key string",
	"source string",
	"text string",
}

// TestTheContractIsTheMessage holds the lists above against the descriptors, so
// that neither can change without the other.
func TestTheContractIsTheMessage(t *testing.T) {
	for want, m := range map[*[]string]proto.Message{
		&contract: &telemetryv1.CycleReport{},
		&event:    &telemetryv1.HeartbeatEvent{},
	} {
		var got []string
		describe(m.ProtoReflect().Descriptor(), "", &got)
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(*want)), got); diff != "" {
			t.Error(diff)
		}
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
		if field.HasOptionalKeyword() || field.IsMap() {
			*keys = append(*keys, path+" must not be there")
			continue
		}
		if kind := kindOf(field); !field.IsList() || kind != "object" {
			*keys = append(*keys, path+" "+kind)
		}
		if field.Message() != nil {
			describe(field.Message(), path+".", keys)
		}
	}
}

// kindOf is the JSON type of a field's values.
func kindOf(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return "object"
	case protoreflect.StringKind:
		return "string"
	case protoreflect.BoolKind:
		return "boolean"
	case protoreflect.Int32Kind:
		return "number"
	}
	return field.Kind().String()
}

// conforms holds a JSON text against a descriptor: every field is a key, in the
// order of the alphabet, and there is no other; every value has the field's
// type; and so on within it.
func conforms(m protoreflect.MessageDescriptor, text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := object(decoder, m, ""); err != nil {
		return err
	}
	if decoder.More() {
		return fmt.Errorf("something follows the object")
	}
	return nil
}

func object(decoder *json.Decoder, m protoreflect.MessageDescriptor, path string) error {
	var want []string
	for i := range m.Fields().Len() {
		want = append(want, string(m.Fields().Get(i).Name()))
	}
	slices.Sort(want)
	if token, err := decoder.Token(); token != json.Delim('{') {
		return fmt.Errorf("%s is %v, not an object (%v)", path, token, err)
	}
	var got []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name := token.(string)
		got = append(got, name)
		field := m.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return fmt.Errorf("%s.%s is not in the message", path, name)
		}
		if err := value(decoder, field, path+"."+name); err != nil {
			return err
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("keys of %s: %s", path, diff)
	}
	_, err := decoder.Token()
	return err
}

func value(decoder *json.Decoder, field protoreflect.FieldDescriptor, path string) error {
	if !field.IsList() {
		return single(decoder, field, path)
	}
	if token, err := decoder.Token(); token != json.Delim('[') {
		return fmt.Errorf("%s is %v, not a list (%v)", path, token, err)
	}
	for decoder.More() {
		if err := single(decoder, field, path+"[]"); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return err
}

func single(decoder *json.Decoder, field protoreflect.FieldDescriptor, path string) error {
	if field.Message() != nil {
		return object(decoder, field.Message(), path)
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	kind := "null"
	switch token.(type) {
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		kind = "number"
	}
	if kind != kindOf(field) {
		return fmt.Errorf("%s is %T, not a %s", path, token, kindOf(field))
	}
	return nil
}

// fill sets every field within a message to something.
func fill(m protoreflect.Message, n *int32) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		if !field.IsList() {
			if field.Message() != nil {
				fill(m.Mutable(field).Message(), n)
				continue
			}
			m.Set(field, scalar(field, n))
			continue
		}
		for list := m.Mutable(field).List(); list.Len() < 3; {
			if field.Message() != nil {
				fill(list.AppendMutable().Message(), n)
				continue
			}
			list.Append(scalar(field, n))
		}
	}
}

func scalar(field protoreflect.FieldDescriptor, n *int32) protoreflect.Value {
	*n++
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(*n)
	}
	return protoreflect.ValueOfString(fmt.Sprintf("<%d> & \"\n", *n))
}

func TestTheJSONIsTheMessage(t *testing.T) {
	for _, m := range []proto.Message{&telemetryv1.CycleReport{}, &telemetryv1.HeartbeatEvent{},
		&diagnosticsv1.ErrorDetail{}, &telemetryv1.DroppedUpdate{}} {
		descriptor := m.ProtoReflect().Descriptor()
		full, n := proto.Clone(m), int32(0)
		fill(full.ProtoReflect(), &n)
		for name, m := range map[string]proto.Message{"empty": m, "full": full} {
			t.Run(string(descriptor.Name())+" "+name, func(t *testing.T) {
				before := proto.Clone(m)
				line, err := cycle.JSON(m)
				if err != nil {
					t.Fatal(err)
				}
				if err := conforms(descriptor, line); err != nil {
					t.Errorf("%s: %v", line, err)
				}
				if bytes.ContainsAny(line, "\n") || name == "full" && !bytes.Contains(line, []byte("<1> & ")) {
					t.Errorf("line %s", line)
				}
				if !proto.Equal(before, m) {
					t.Error("rendering has changed the message")
				}
				back := m.ProtoReflect().New().Interface()
				if err := protojson.Unmarshal(line, back); err != nil {
					t.Fatal(err)
				}
				if name == "full" && !proto.Equal(m, back) {
					t.Errorf("%v came back as %v", m, back)
				}
			})
		}
	}
}

// TestGoldenReportsConform: so do those that real cycles have printed.
func TestGoldenReportsConform(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden reports, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms((&telemetryv1.CycleReport{}).ProtoReflect().Descriptor(), text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestWhatDoesNotConformIsFound: the tests above can fail.
func TestWhatDoesNotConformIsFound(t *testing.T) {
	good, err := cycle.JSON(&telemetryv1.CycleReport{DroppedUpdates: []*telemetryv1.DroppedUpdate{{}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string][2]string{
		"a key is missing":            {`"drop_total":0,`, ``},
		"a key of a list's entry is":  {`"chat_id":"",`, ``},
		"a key too many":              {`"drop_total":0,`, `"drop_total":0,"drops":0,`},
		"a number is a string":        {`"cycle_total":0`, `"cycle_total":"0"`},
		"a string is a number":        {`"emit_state":""`, `"emit_state":0`},
		"an object is null":           {`"heartbeat":{"emit_state":""}`, `"heartbeat":null`},
		"a list is null":              {`"errors":[]`, `"errors":null`},
		"an entry of the wrong type":  {`"errors":[]`, `"errors":[{}]`},
		"keys in another order":       {`"sent_count":0,"status":""`, `"status":"","sent_count":0`},
		"keys in another order below": {`"drop_total":0,"fetch_total":0`, `"fetch_total":0,"drop_total":0`},
	} {
		bad := strings.Replace(string(good), replace[0], replace[1], 1)
		if bad == string(good) {
			t.Fatalf("%s: nothing was replaced in %s", name, good)
		}
		if err := conforms((&telemetryv1.CycleReport{}).ProtoReflect().Descriptor(), []byte(bad)); err == nil {
			t.Errorf("%s: not found in %s", name, bad)
		}
	}
}
