package codex

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const sentinel = "RAWLINE_SECRET_DO_NOT_LEAK"

// FuzzDecoder checks on any output that no line is lost, that every bound holds,
// that what counts as JSON is what encoding/json thinks, and that nothing of a bad
// line is shown.
func FuzzDecoder(f *testing.F) {
	for _, pattern := range []string{"testdata/*.jsonl", "testdata/real/*.jsonl"} {
		corpora, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, corpus := range corpora {
			lines, err := os.ReadFile(corpus)
			if err != nil {
				f.Fatal(err)
			}
			for line := range bytes.Lines(lines) {
				if len(line) < 4096 {
					f.Add(line)
				}
			}
		}
	}
	f.Add([]byte("{\"type\":\"error\",\"message\":\"" + strings.Repeat("\xff", 3000) + "\"}\r\n\n\r\n{}"))
	f.Fuzz(func(t *testing.T, output []byte) {
		events, stats := decodeAll(t, bytes.NewReader(output))
		at := 0
		for i, line := range strings.SplitAfter(string(output), "\n") {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if strings.Trim(line, " \t\r") == "" {
				continue
			}
			if at == len(events) {
				t.Fatalf("line %d has no event", i+1)
			}
			at += checkLine(t, line, events[at:])
		}
		if at != len(events) {
			t.Errorf("%d events for nothing", len(events)-at)
		}
		if stats.LineErrors > stats.Lines {
			t.Errorf("counted %+v", stats)
		}
		for _, e := range events {
			checkBounds(t, e)
		}
	})
}

// checkLine holds the events of a line against the line and says how many they
// are.
func checkLine(t *testing.T, line string, events []*event) int {
	first := events[0]
	if failure := first.GetLineError(); failure != nil {
		if failure.GetLineBytes() != uint64(len(line)) {
			t.Errorf("line_bytes is %d, want %d", failure.GetLineBytes(), len(line))
		}
		for _, why := range allReasons {
			if strings.Contains(first.Message, ": "+string(why)+" (line_bytes=") {
				return 1
			}
		}
		t.Errorf("the message %q is not from the list", first.Message)
		return 1
	}
	if !json.Valid([]byte(line)) {
		t.Errorf("taken for JSON: %q", line)
	}
	part := itemOf(first).GetAgentMessage().GetTextPart()
	if part == nil {
		part = itemOf(first).GetReasoning().GetTextPart()
	}
	if part == nil {
		return 1
	}
	var text strings.Builder
	for _, e := range events[:part.GetParts()] {
		text.WriteString(e.Text)
	}
	if !utf8.ValidString(text.String()) {
		t.Error("the parts together are not UTF-8")
	}
	return int(part.GetParts())
}

// allReasons is the closed list.
var allReasons = []reason{
	reasonTooLong, reasonNotJSON, reasonTooDeep, reasonNotObject, reasonNoType, reasonNoThreadID, reasonNoMessage,
	reasonNoItem, reasonNoItemID, reasonNoItemType, reasonNoText, reasonNoItemText, reasonNoCommand, reasonNoChanges,
	reasonNoServer, reasonNoTool, reasonNoQuery, reasonNoSteps,
}

// FuzzJSON holds the syntax check and the reading of strings against
// encoding/json, and hides a sentinel in what is no JSON.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e+3,true,false,null,"\u0041\ud83e\udd16\n"],"a":{}}`, `"\ud83e"`, "\"\xff\"", `01`, `-`, `1.`, `1e`, `{"a"}`,
		`[1,]`, `{,}`, `"\x"`, "\"\x01\"", `nul`, ` [ ] `, `"\\\\\""`, `{"a":"\\","b":"\""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		verdict := checkSyntax(text)
		if verdict == syntaxTooDeep {
			return
		}
		if (verdict == syntaxOK) != json.Valid(text) {
			t.Fatalf("valid: %v, encoding/json: %v", verdict == syntaxOK, json.Valid(text))
		}
		if verdict != syntaxOK {
			events, _ := decodeAll(t, strings.NewReader(strings.ReplaceAll(string(text), "\n", " ")+sentinel))
			for _, e := range events {
				if strings.Contains(e.String(), sentinel) {
					t.Errorf("leaked: %v", e)
				}
			}
			return
		}
		trimmed := bytes.Trim(text, " \t\r\n")
		if v := value(trimmed); v.isString() {
			var want string
			if err := json.Unmarshal(trimmed, &want); err != nil {
				t.Fatal(err)
			}
			if want = strings.ReplaceAll(want, "\x00", "\uFFFD"); v.text() != want {
				t.Errorf("read %q, want %q", v.text(), want)
			}
		}
		value(trimmed).protobuf()
	})
}
