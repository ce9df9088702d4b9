// Package refusal is how every program says that it refuses its command line or
// its configuration: one line of JSON on standard output, and an exit status.
package refusal

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/internal/lifecycle"
)

// Line is the line for a problem, with its line end: a
// telemetry.v1.InvalidConfigReport.
func Line(problem error) []byte {
	report := &telemetryv1.InvalidConfigReport{Status: "failed", Reason: "invalid-config", Error: said(problem)}
	var line bytes.Buffer
	// Neither step can fail: the message is flat and its text valid UTF-8.
	text, _ := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(report)
	_ = json.Compact(&line, text)
	line.WriteByte('\n')
	return line.Bytes()
}

// maxSaid is how much of what is wrong is said, in bytes: a value that is quoted
// may be of any length.
const maxSaid = 4096

// said is why something is refused, as valid UTF-8 of at most maxSaid bytes.
func said(problem error) string {
	text := strings.ToValidUTF8(problem.Error(), "\uFFFD")
	return strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
}

// Print prints the line, and returns the exit status.
func Print(stdout io.Writer, problem error) int {
	if _, err := stdout.Write(Line(problem)); err != nil {
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitUsage
}
