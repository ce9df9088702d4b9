package render

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func units(text string) int { return len(utf16.Encode([]rune(text))) }

func TestAnswerPrefersGoodPlacesToCut(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name string
		text string
		want []string
	}{
		{"a short one is one message", "hello", []string{"hello"}},
		{"white space at the ends is not shown", "\n  hello \r\n", []string{"hello"}},
		{"exactly one message", x(4096), []string{x(4096)}},
		{"exactly one message and a line end", x(4096) + "\n", []string{x(4096)}},
		{"one unit more", x(4097), []string{x(4096), "x"}},
		{"paragraphs before lines", x(2500) + "\n\n" + x(1000) + "\n" + x(2000), []string{x(2500) + "\n\n", x(1000) + "\n" + x(2000)}},
		{"paragraphs with CRLF and blank lines", x(3000) + "\r\n \r\n" + x(2000), []string{x(3000) + "\r\n \r\n", x(2000)}},
		{"lines before spaces", x(2500) + "\n" + x(1000) + " " + x(2000), []string{x(2500) + "\n", x(1000) + " " + x(2000)}},
		{"lines before a paragraph too early", x(500) + "\n\n" + x(3000) + "\n" + x(2000), []string{x(500) + "\n\n" + x(3000) + "\n", x(2000)}},
		{"spaces before words", x(3000) + " " + x(2000), []string{x(3000) + " ", x(2000)}},
		{"a space too early is no place", "x " + x(5000), []string{"x " + x(4094), x(906)}},
		{"lines that keep their indentation before indented ones", x(2500) + "\nnext" + x(500) + "\n  " + x(2000), []string{x(2500) + "\n", "next" + x(500) + "\n  " + x(2000)}},
		{"indented lines where there are no others", x(2500) + "\n  " + x(2000), []string{x(2500) + "\n", "  " + x(2000)}},
		{"CRLF stays whole", x(4095) + "\r\n" + x(10), []string{x(4095), "\r\n" + x(10)}},
		{"surrogate pairs stay whole", x(4095) + "😀😀", []string{x(4095), "😀😀"}},
		{"marks stay with their characters", x(4095) + "e\u0301\u0302" + x(10), []string{x(4095), "e\u0301\u0302" + x(10)}},
		{"joined emoji stay whole", x(4092) + "👩\u200D💻!", []string{x(4092), "👩\u200D💻!"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Answer(tt.text)
			if got.Document != nil || len(got.Messages) != len(tt.want) {
				t.Fatalf("%d messages, document %v", len(got.Messages), got.Document != nil)
			}
			for i, want := range tt.want {
				if got.Messages[i] != want {
					t.Errorf("message %d is %d bytes %.20q…, want %d bytes %.20q…", i, len(got.Messages[i]), got.Messages[i], len(want), want)
				}
			}
			checkAnswer(t, tt.text, got)
		})
	}
}

func TestLongAnswersAreDocuments(t *testing.T) {
	four := strings.Repeat("x", 4*MaxUnits)
	if got := Answer(four); len(got.Messages) != 4 || got.Document != nil {
		t.Errorf("four messages are %d, %v", len(got.Messages), got.Document != nil)
	}
	for name, text := range map[string]string{
		"one unit more than four messages":    four + "x",
		"megabytes":                           strings.Repeat("a line of an answer\n", 300_000),
		"white space that fills a message":    "a" + strings.Repeat("\n", 2*MaxUnits) + "b",
		"invisible text that fills a message": "a" + strings.Repeat("\u200b", 2*MaxUnits) + "b",
		"invisible text at the beginning":     strings.Repeat("\u2060", 2*MaxUnits) + "b",
	} {
		t.Run(name, func(t *testing.T) {
			got := Answer(text)
			if got.Document == nil || got.Document.Name != "answer.md" || string(got.Document.Content) != text {
				t.Fatal("no document with the answer")
			}
			if len(got.Messages) != 1 || !strings.Contains(got.Messages[0], "is in the file answer.md.") {
				t.Errorf("messages %.200q", got.Messages)
			}
			checkAnswer(t, text, got)
		})
	}
}

func TestAnswersThatShowNothing(t *testing.T) {
	for _, text := range []string{"", " ", "\n\t\r\n", "\u200b\u2060\ufeff", "\u3164\u2800", "\x00\x1b", strings.Repeat("\n", 100_000)} {
		if got := Answer(text); len(got.Messages) != 1 || got.Messages[0] != emptyAnswer || got.Document != nil {
			t.Errorf("%.20q: %.100q", text, got.Messages)
		}
	}
}

// checkAnswer holds for every answer.
func checkAnswer(t *testing.T, text string, got Rendering) {
	t.Helper()
	if len(got.Messages) == 0 || len(got.Messages) > MaxMessages {
		t.Fatalf("%d messages", len(got.Messages))
	}
	for i, m := range got.Messages {
		if units(m) > MaxUnits || Blank(m) {
			t.Errorf("message %d has %d units: %.40q", i, units(m), m)
		}
		if utf8.ValidString(text) && !utf8.ValidString(m) {
			t.Errorf("message %d cuts a character", i)
		}
		if i > 0 && strings.HasSuffix(got.Messages[i-1], "\r") && strings.HasPrefix(m, "\n") {
			t.Errorf("message %d cuts CRLF", i)
		}
	}
	joined, trimmed := strings.Join(got.Messages, ""), strings.Trim(text, " \t\r\n\v\f")
	switch {
	case got.Document != nil && string(got.Document.Content) != text:
		t.Error("the document is not the answer")
	case got.Document == nil && joined != trimmed && joined != emptyAnswer:
		t.Error("the messages are not the answer")
	case joined == emptyAnswer && text != emptyAnswer && !Blank(trimmed):
		t.Error("the answer is lost")
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"", "hello", "  \n ", "a\r\nb", "😀", "e\u0301", "👩\u200D💻", "\xff\xfe", "\r", "\n\n", "x\u200b", "```go\nfunc main() {\n\tprintln()\n}\n```\n\n- a\n- b\n",
		strings.Repeat("word ", 50) + "\n", "\u2028\u2029\u0085",
	} {
		f.Add(s, uint16(1), "", "")
		f.Add(s, uint16(4097), "b", "\n")
		f.Add("a ", uint16(3000), s, s)
		f.Add(s, uint16(900), s, "\r\n  ")
	}
	f.Fuzz(func(t *testing.T, part string, times uint16, middle, end string) {
		if len(part)*int(times) > 1<<20 {
			return
		}
		text := strings.Repeat(part, int(times)) + middle + strings.Repeat(part, int(times)/2) + end
		checkAnswer(t, text, Answer(text))
	})
}

func TestFileSize(t *testing.T) {
	for n, want := range map[int]string{1: "1 bytes", 999: "999 bytes", 1000: "1 kB", 16_400: "16 kB", 5_250_000: "5.2 MB"} {
		if got := fileSize(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	if got := fmt.Sprint(prefix("😀😀", 3)); got != "4" {
		t.Errorf("prefix %s", got)
	}
}
