package structure

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
)

// contract are the files of the contract as they were generated; their comments stand
// in proto/ alone.
var contract = []protoreflect.FileDescriptor{
	diagnosticsv1.File_telecodex_diagnostics_v1_error_detail_proto,
	diagnosticsv1.File_telecodex_diagnostics_v1_error_reason_proto,
	gatewayv1.File_telecodex_gateway_v1_gateway_service_proto,
	orchestratorv1.File_telecodex_orchestrator_v1_codex_event_proto,
	orchestratorv1.File_telecodex_orchestrator_v1_orchestrator_service_proto,
	orchestratorv1.File_telecodex_orchestrator_v1_turn_proto,
	telemetryv1.File_telecodex_telemetry_v1_cycle_proto,
	telemetryv1.File_telecodex_telemetry_v1_heartbeat_proto,
	telemetryv1.File_telecodex_telemetry_v1_telemetry_proto,
}

// bound is how a comment says how long, how large or of which form a field can be.
var bound = regexp.MustCompile(`(?i)\bat most\b|\bat least \d|\d+ (byte )?to (\w+|\d+)|\d+ or more|\bone of\b|\bUUID\b|\bany \d\d-bit number\b|\b\d+ hex digits\b|\balways "|host:port`)

// measure is how a comment says what a length or a time is counted in.
var measure = regexp.MustCompile(`(?i)\bbytes?\b|\b[KM]iB\b|characters|\bUUID\b|\bone of\b|\balways "|hex digits|host:port|as long as the system`)

// Whoever implements one side of the contract learns from it what the other side may
// send: every text, number and list has a bound, and every text says what it is
// counted in.
func TestEveryFieldOfTheContractHasABound(t *testing.T) {
	known := map[string]bool{}
	for _, file := range contract {
		known["proto/"+file.Path()] = true
		comments := fieldComments(t, "proto/"+file.Path())
		fields := 0
		for i := range file.Messages().Len() {
			fields += checkFields(t, file.Messages().Get(i), comments)
		}
		if fields != len(comments) {
			t.Errorf("%s: %d fields, %d were found in the text", file.Path(), fields, len(comments))
		}
	}
	for _, name := range files(t) {
		if path.Ext(name) == ".proto" && !known[name] {
			t.Errorf("%s is not looked at", name)
		}
	}
}

// checkFields looks at the fields of a message and returns how many it has.
func checkFields(t *testing.T, message protoreflect.MessageDescriptor, comments map[string]string) int {
	t.Helper()
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		name := string(message.Name()) + "." + string(field.Name())
		comment := comments[name]
		switch {
		case comment == "":
			t.Errorf("%s has no comment", name)
		case needsBound(field) && !bound.MatchString(comment):
			t.Errorf("%s has no bound: %q", name, comment)
		case field.Kind() == protoreflect.StringKind && !field.IsList() && !measure.MatchString(comment):
			t.Errorf("%s does not say what it is counted in: %q", name, comment)
		}
	}
	return message.Fields().Len()
}

// needsBound is false of what cannot be of any length or size.
func needsBound(field protoreflect.FieldDescriptor) bool {
	switch field.Kind() {
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return field.IsList()
	case protoreflect.MessageKind:
		name := field.Message().FullName()
		return field.IsList() || field.IsMap() || name == "google.protobuf.Duration" || name == "google.protobuf.Value"
	}
	return true
}

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{`)
	fieldLine   = regexp.MustCompile(`^\s+(?:repeated |optional )?[\w.]+(?:<[\w., ]+>)? (\w+) = \d+`)
)

// fieldComments are the comments above the fields of a file, by "Message.field", each
// as one line.
func fieldComments(t *testing.T, name string) map[string]string {
	t.Helper()
	comments, message := map[string]string{}, ""
	var above []string
	for line := range strings.Lines(string(read(t, name))) {
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
			above = append(above, strings.TrimSpace(text))
			continue
		}
		if found := messageLine.FindStringSubmatch(line); found != nil {
			message = found[1]
		} else if found := fieldLine.FindStringSubmatch(line); found != nil && message != "" {
			comments[message+"."+found[1]] = strings.Join(above, " ")
		}
		if strings.HasPrefix(line, "}") {
			message = ""
		}
		above = nil
	}
	return comments
}
