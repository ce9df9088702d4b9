package proctree

import (
	"os"
	"strings"
	"testing"
)

func TestMarkSurvivesItsText(t *testing.T) {
	for range 1000 {
		m, err := newMark()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseMark(m.String()); err != nil || back != m {
			t.Fatalf("%v became %v, %v", m, back, err)
		}
	}
}

func TestWhatIsNoMarkIsRefused(t *testing.T) {
	for _, text := range []string{"", "0", "1", "ffffffffffffffff", "7ffffffffffffff", "1000000000000000", "8000000000000 0", "note"} {
		if m, err := parseMark(text); err == nil {
			t.Errorf("%q became %v", text, m)
		}
	}
}

func TestProcessState(t *testing.T) {
	tail := func(state, threads string) string {
		return ") " + state + " 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 " + threads + " 0 100"
	}
	tests := map[string]struct {
		stat string
		want bool
	}{
		"running":                  {"7 (codex" + tail("R", "4"), true},
		"stopped":                  {"7 (codex" + tail("T", "1"), true},
		"a zombie":                 {"7 (codex" + tail("Z", "1"), false},
		"a zombie without threads": {"7 (codex" + tail("Z", "0"), false},
		"its first thread ended":   {"7 (codex" + tail("Z", "3"), true},
		"a misleading name":        {"7 (a) Z 1 (b" + tail("S", "1"), true},
		"nothing":                  {"", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := living(test.stat); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// FuzzProcFiles feeds the readers of /proc what a strange kernel or process name might put there.
func FuzzProcFiles(f *testing.F) {
	for _, name := range []string{"/proc/self/limits", "/proc/self/stat"} {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	f.Add("Max realtime timeout")
	f.Add("1 (")
	const m = mark(1<<59 + 5)
	f.Fuzz(func(t *testing.T, content string) {
		living(content)
		if m.isIn(content) && !strings.Contains(content, "576460752303423493") {
			t.Errorf("mark seen in %q", content)
		}
	})
}
