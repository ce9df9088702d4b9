package codexsim

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"time"
)

// allItemsCorpus holds one line for each event and item type of Codex, as
// recorded, then unknown types and aliases.
//
//go:embed corpus/all_items.jsonl
var allItemsCorpus string

// allItems plays the corpus, within the thread that was asked for.
func allItems(t *turn) int {
	t.threadStarted()
	for line := range strings.Lines(allItemsCorpus) {
		t.out.text(strings.TrimSuffix(strings.ReplaceAll(line, "<thread>", t.thread.id), "\n"))
	}
	return 0
}

func hugeLine(t *turn) int {
	t.begin()
	return t.finish(Text(t.number("FAKE_CODEX_BYTES", 5_000_000)))
}

func overLine(t *turn) int {
	t.begin()
	t.out.text(lineOf(t.number("FAKE_CODEX_BYTES", 16<<20+1)))
	return t.finish(t.reply())
}

// lineOf is an agent message in a line of exactly n bytes, if n has room for it.
func lineOf(n int) string {
	empty := agentMessage("item_0000000", "")
	return agentMessage("item_0000000", strings.Repeat("x", max(0, n-len(empty))))
}

func garbage(t *turn) int {
	t.begin()
	for _, line := range []string{
		RawLineSecret,
		`<html><body>` + RawLineSecret + `</body></html>`,
		`{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"` + RawLineSecret,
		`["` + RawLineSecret + `"]`,
		`"` + RawLineSecret + `"`,
		`null`,
		`42`,
		`{}`,
		`{"type":42,"note":"` + RawLineSecret + `"}`,
		`{"type":"item.completed","note":"` + RawLineSecret + `"}`,
		`{"type":"item.completed","item":"` + RawLineSecret + `"}`,
		`{"type":"item.completed","item":{"id":"item_0","type":"agent_message","note":"` + RawLineSecret + `"}}`,
		`{"type":"turn.started"} {"note":"` + RawLineSecret + `"}`,
		strings.Repeat(`{"a":`, 20_000) + `"` + RawLineSecret + `"` + strings.Repeat("}", 20_000),
		"\x1b[31m" + RawLineSecret + "\x1b[0m",
		"\xff\xfe" + RawLineSecret,
		"",
		"   \t",
	} {
		t.out.text(line)
	}
	return t.finish(t.reply())
}

func nulInvalidUTF8(t *turn) int {
	t.begin()
	for i, text := range []string{
		`escaped NUL: \u0000.`,
		"raw NUL: \x00.",
		"invalid UTF-8: \xff\xc3(.",
		`lone surrogates: \ud800 \udc00.`,
		"separators: \u2028\u2029.",
	} {
		t.out.text(fmt.Sprintf(`{"type":"item.completed","item":{"id":"item_%d","type":"agent_message","text":"%s"}}`, i+1, text))
	}
	return t.finish(t.reply())
}

// flood writes as fast as the reader takes it, so its lines are made once and
// written in blocks.
func flood(t *turn) int {
	t.begin()
	line := []byte(lineOf(t.number("FAKE_CODEX_BYTES", 256)) + "\n")
	number := line[bytes.Index(line, []byte("item_0000000"))+len("item_"):][:7]
	w := bufio.NewWriterSize(t.process.Stdout, 64<<10)
	for i := range t.number("FAKE_CODEX_EVENTS", 10_000) {
		for at, rest := len(number)-1, i; at >= 0; at, rest = at-1, rest/10 {
			number[at] = '0' + byte(rest%10)
		}
		if _, err := w.Write(line); err != nil {
			return exitStdoutClosed
		}
	}
	if err := w.Flush(); err != nil {
		return exitStdoutClosed
	}
	t.turnCompleted()
	return 0
}

// paced writes each event at its own time, counted from the start, so that
// delays do not add up.
func paced(t *turn) int {
	t.begin()
	interval := time.Second / time.Duration(max(1, t.number("FAKE_CODEX_RATE", 100)))
	start := time.Now()
	for i := range t.number("FAKE_CODEX_EVENTS", 1000) {
		t.pause(time.Until(start.Add(time.Duration(i) * interval)))
		t.out.text(agentMessage(fmt.Sprintf("item_%d", i), fmt.Sprint(time.Now().UnixNano())))
	}
	t.turnCompleted()
	return 0
}
