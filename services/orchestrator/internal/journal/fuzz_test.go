package journal

import (
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// FuzzDecode feeds damaged segments: they are errors, never panics.
func FuzzDecode(f *testing.F) {
	segments, err := encode([]*orchestratorv1.TurnEvent{{TurnId: "t", Sequence: 1, Text: "a"}, {TurnId: "t", Sequence: 2, Text: "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(segments[0].data, 2, 1)
	f.Add(segments[0].data[:3], 2, 0)
	f.Add([]byte{0xff, 0xff, 0xff}, 1, 0)
	f.Fuzz(func(t *testing.T, data []byte, count, skip int) {
		if count < 0 || count > 1000 || skip < 0 || skip > count {
			return
		}
		if events, err := decode(data, count, skip); err == nil && len(events) != count-skip {
			t.Errorf("%d events of %d, %d skipped", len(events), count, skip)
		}
	})
}
