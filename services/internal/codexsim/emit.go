package codexsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// emitter writes lines, each in one write, as Codex does. After an error it
// writes nothing more.
type emitter struct {
	w   io.Writer
	err error
}

func (e *emitter) line(line []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(append(line, '\n'))
	}
}

func (e *emitter) text(line string) { e.line([]byte(line)) }

// quote writes a JSON string as Codex does: HTML is not escaped.
func quote(s string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

func (t *turn) threadStarted() {
	t.out.text(fmt.Sprintf(`{"type":"thread.started","thread_id":%s}`, quote(t.thread.id)))
}

func (t *turn) turnStarted() { t.out.text(`{"type":"turn.started"}`) }

// begin opens the turn.
func (t *turn) begin() {
	t.threadStarted()
	t.turnStarted()
}

func agentMessage(item, text string) string {
	return fmt.Sprintf(`{"type":"item.completed","item":{"id":%s,"type":"agent_message","text":%s}}`, quote(item), quote(text))
}

func (t *turn) answer(text string) { t.out.text(agentMessage("item_0", text)) }

// turnCompleted closes the turn. Usage is cumulative over the thread.
func (t *turn) turnCompleted() {
	n := len(t.thread.earlier) + 1
	t.out.text(fmt.Sprintf(`{"type":"turn.completed","usage":{"input_tokens":%d,"cached_input_tokens":%d,"cache_write_input_tokens":0,"output_tokens":%d,"reasoning_output_tokens":%d}}`,
		120*n, 20*n, 30*n, 5*n))
}

// finish answers and closes the turn.
func (t *turn) finish(text string) int {
	t.answer(text)
	t.turnCompleted()
	return 0
}

// reply is the answer to the prompt: an echo, or what came before.
func (t *turn) reply() string {
	if !strings.HasPrefix(strings.ToLower(t.prompt), "recall") {
		return "You said: " + t.prompt
	}
	if len(t.thread.earlier) == 0 {
		return "This is the first thing you said to me."
	}
	var b strings.Builder
	b.WriteString("Earlier you said:")
	for i, prompt := range t.thread.earlier {
		fmt.Fprintf(&b, "\n%d. %s", i+1, prompt)
	}
	return b.String()
}

// Text is a text of exactly n bytes of ASCII in numbered lines, the same for the
// same n, by which a test knows a long answer to be whole.
func Text(n int) string {
	var b strings.Builder
	b.Grow(n + 64)
	for i := 1; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d the quick brown fox jumps over the lazy dog\n", i)
	}
	return b.String()[:n]
}
