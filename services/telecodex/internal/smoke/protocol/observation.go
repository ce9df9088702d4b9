package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Observation is what was seen of one cycle. The zero value is a cycle that was
// not run.
type Observation struct {
	Ran bool
	// Exit is the exit status; -1 when the program did not end by itself.
	Exit int
	// Crash says how it ended instead; empty: by itself.
	Crash  string
	Stdout []byte
	// World is what only a simulated world shows; nil: the world was real.
	World *World
}

// World is what the simulated Telegram and the scripted Codex saw of a cycle.
type World struct {
	Sent    int // messages that the bot sent
	Threads int // Codex threads that were begun
}

// Report is the one JSON object on standard output, numbers as json.Number; nil
// when the output is anything else.
func (o Observation) Report() map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(o.Stdout))
	decoder.UseNumber()
	var report map[string]any
	if decoder.Decode(&report) != nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil
	}
	return report
}

// Text is a value of the report as text, "" where there is none.
func (o Observation) Text(path string) string {
	value, _ := find(o.Report(), path)
	text, _ := value.(string)
	return text
}

// find walks a path such as telemetry.counters.send_total, errors[0] or
// error_details[code=codex-timeout].retryable.
func find(value any, path string) (any, bool) {
	for step := range strings.SplitSeq(path, ".") {
		name, index, indexed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[name]; !ok {
			return nil, false
		}
		if indexed {
			if value, ok = element(value, index); !ok {
				return nil, false
			}
		}
	}
	return value, true
}

// element picks the element of a list at "0", or the first with "key=text".
func element(value any, index string) (any, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	key, text, search := strings.Cut(index, "=")
	if !search {
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(list) {
			return nil, false
		}
		return list[i], true
	}
	for _, item := range list {
		if object, ok := item.(map[string]any); ok && object[key] == any(text) {
			return object, true
		}
	}
	return nil, false
}

// maxShown bounds how much of a value an observation shows.
const maxShown = 600

// show is a value as a check shows it: JSON.
func show(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprintf("%T", value)
	}
	shown := []rune(strings.TrimSpace(text.String()))
	if len(shown) > maxShown {
		return string(shown[:maxShown]) + "…"
	}
	return string(shown)
}
