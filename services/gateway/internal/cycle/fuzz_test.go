package cycle_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
)

// FuzzReport: whatever a failure says, its report is one line that conforms.
func FuzzReport(f *testing.F) {
	f.Add("telegram getUpdates: network-error:  the proxy\n cannot be reached", int64(100000001), int64(-1000))
	f.Add("\x00\x1f\x7f\u2028<&>\"\\\xff", int64(0), int64(0))
	f.Add(strings.Repeat("é\u00a0", 600), int64(9223372036854775807), int64(-9223372036854775808))
	descriptor := (&telemetryv1.CycleReport{}).ProtoReflect().Descriptor()
	f.Fuzz(func(t *testing.T, text string, updateID, chatID int64) {
		s := newStage()
		c := s.Begin(time.Now())
		u := handed(updateID)
		u[0].ChatID = chatID
		c.Fetched(cycle.Batch{Handed: u, Failed: errors.New(text)})
		s.Settled(u[0].Key, "telegram:1000", cycle.Result{Code: cycle.ProcessingException, Message: text})
		line, err := cycle.JSON(s.reports[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(descriptor, line); err != nil || strings.ContainsAny(string(line), "\n\r") {
			t.Errorf("%s: %v", line, err)
		}
		for _, message := range s.reports[0].GetErrors() {
			if utf8.RuneCountInString(message) > 500 || strings.Contains(message, "  ") || strings.ContainsAny(message, "\t\n\u00a0") {
				t.Errorf("message %q", message)
			}
		}
	})
}
