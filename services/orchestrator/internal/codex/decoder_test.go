package codex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// checkBounds holds an event against every bound of the envelope.
func checkBounds(t testing.TB, e *event) {
	t.Helper()
	if len(e.Text) > maxText || len(e.Message) > maxMessage || len(e.Channel) > 128 {
		t.Errorf("text %d, message %d, channel %d bytes", len(e.Text), len(e.Message), len(e.Channel))
	}
	if e.Kind == orchestratorv1.EventKind_EVENT_KIND_UNSPECIFIED || e.Detail == nil || e.OccurredAt == nil {
		t.Errorf("an incomplete event %v", e)
	}
	if strings.ContainsAny(e.Message, "\n\r\x00") || strings.Contains(e.Text, "\x00") {
		t.Errorf("a message of several lines, or a NUL")
	}
	if item := itemOf(e); item != nil {
		if len(item.Id) > maxItemID || len(item.Status) > maxStatus || item.Kind == nil {
			t.Errorf("id %d, status %d bytes, kind %v", len(item.Id), len(item.Status), item.Kind)
		}
	}
	// Text and the largest item, an MCP call of five payloads.
	if size := proto.Size(e); size > 6*maxPayload {
		t.Errorf("an event of %d bytes", size)
	}
	// Marshal refuses strings that are not UTF-8.
	if _, err := proto.Marshal(e); err != nil {
		t.Errorf("marshal: %v", err)
	}
}

func itemOf(e *event) *orchestratorv1.Item {
	switch detail := e.Detail.(type) {
	case *orchestratorv1.TurnEvent_ItemStarted:
		return detail.ItemStarted.GetItem()
	case *orchestratorv1.TurnEvent_ItemUpdated:
		return detail.ItemUpdated.GetItem()
	case *orchestratorv1.TurnEvent_ItemCompleted:
		return detail.ItemCompleted.GetItem()
	}
	return nil
}

func agentLine(text string) string {
	return `{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"` + text + `"}}` + "\n"
}

func TestLongTextIsSplitAndNothingIsLost(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", maxText),
		strings.Repeat("x", maxText+1),
		strings.Repeat("äöü€🤖", 50_000),
		strings.Repeat("🤖", maxText/4) + "x",
	} {
		events, _ := decodeAll(t, strings.NewReader(agentLine(text)))
		var whole strings.Builder
		for i, e := range events {
			checkBounds(t, e)
			position := itemOf(e).GetAgentMessage().GetTextPart()
			if position.GetPart() != uint32(i+1) || position.GetParts() != uint32(len(events)) {
				t.Errorf("part %d is %v", i, position)
			}
			whole.WriteString(e.Text)
		}
		if whole.String() != text || len(events) < len(text)/maxText {
			t.Errorf("%d bytes became %d in %d events", len(text), whole.Len(), len(events))
		}
	}
}

func TestTheLongestAnswerComesInBatches(t *testing.T) {
	// Bytes that are not UTF-8 grow threefold: more parts than a batch has room for.
	const size = 6 << 20
	events, _ := decodeAll(t, strings.NewReader(agentLine(strings.Repeat("\xff", size))))
	total := 0
	for _, e := range events {
		total += len(e.Text)
	}
	if len(events) <= maxBatch || total != 3*size {
		t.Errorf("%d events, %d bytes", len(events), total)
	}
}

func TestLineBound(t *testing.T) {
	frame := len(strings.TrimSpace(agentLine("")))
	for _, tc := range []struct {
		name     string
		size     int
		end      string
		accepted bool
	}{
		{"longest line", maxLine, "\n", true},
		{"longest line with CRLF", maxLine, "\r\n", true},
		{"longest line at the end of the output", maxLine, "", true},
		{"one byte more", maxLine + 1, "\n", false},
		{"one byte more with CRLF", maxLine + 1, "\r\n", false},
		{"one byte more at the end of the output", maxLine + 1, "", false},
		{"far more", 3*maxLine + 12345, "\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			long := strings.TrimSpace(agentLine(strings.Repeat("x", tc.size-frame)))
			after := `{"type":"turn.started"}` + "\n"
			if tc.end == "" {
				after = ""
			}
			events, stats := decodeAll(t, strings.NewReader(long+tc.end+after))
			if stats.LongestLine != uint64(tc.size) {
				t.Errorf("longest line %d", stats.LongestLine)
			}
			if got := events[0].GetLineError() == nil; got != tc.accepted {
				t.Fatalf("accepted: %v: %s", got, events[0].Message)
			}
			if after != "" && events[len(events)-1].GetTurnStarted() == nil {
				t.Error("the line behind it was lost")
			}
			if tc.accepted {
				return
			}
			want := fmt.Sprintf("codex stream parse error (redacted): line too long (line_bytes=%d)", tc.size)
			failure := events[0].GetLineError()
			if events[0].Message != want || failure.GetLineBytes() != uint64(tc.size) || failure.GetLineNumber() != 1 ||
				failure.GetPhase() != orchestratorv1.LinePhase_LINE_PHASE_PARSE {
				t.Errorf("got %q, %v", events[0].Message, failure)
			}
		})
	}
}

func TestMemoryOfALongLine(t *testing.T) {
	read := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	line := strings.NewReader(agentLine(strings.Repeat(`\n`, (maxLine-100)/2)))
	rest := strings.NewReader(`{"type":"turn.started"}` + "\n")
	before := read()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	allocated := stats.TotalAlloc
	d := NewDecoder(io.MultiReader(line, rest), noon)
	for events := 0; events < 1; {
		batch, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		events += len(batch)
	}
	runtime.ReadMemStats(&stats)
	if used := stats.TotalAlloc - allocated; used > 5*maxLine {
		t.Errorf("a line of %d bytes cost %d bytes of memory in all", maxLine, used)
	}
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if after := read(); after > before+1<<20 {
		t.Errorf("%d bytes are still held", after-before)
	}
	runtime.KeepAlive(d)
}

func TestOversizePayloadsAreDropped(t *testing.T) {
	big := strings.Repeat("x", maxPayload+1)
	item := func(fields string) string {
		return `{"type":"item.completed","item":{"id":"item_0",` + fields + `}}` + "\n"
	}
	for _, tc := range []struct{ field, line string }{
		{"command", item(`"type":"command_execution","command":"` + big + `"`)},
		{"aggregated_output", item(`"type":"command_execution","command":"x","aggregated_output":"` + big + `"`)},
		{"changes", item(`"type":"file_change","changes":[{"path":"` + big + `","kind":"add"}]`)},
		{"arguments", item(`"type":"mcp_tool_call","server":"s","tool":"t","arguments":"` + big + `"`)},
		{"arguments", item(`"type":"mcp_tool_call","server":"s","tool":"t","arguments":[` + strings.Repeat("0,", 15_000) + `0]`)},
		{"error", item(`"type":"mcp_tool_call","server":"s","tool":"t","error":{"message":"` + big + `"}`)},
		{"query", item(`"type":"web_search","query":"` + big + `"`)},
		{"action", item(`"type":"web_search","query":"q","action":"` + big + `"`)},
		{"items", item(`"type":"todo_list","items":[{"text":"` + big + `","completed":true}]`)},
		{"receiver_thread_ids", item(`"type":"collab_tool_call","tool":"t","receiver_thread_ids":["` + big + `"]`)},
		{"agents_states", item(`"type":"collab_tool_call","tool":"t","agents_states":{"a":"` + big + `"}`)},
	} {
		t.Run(tc.field, func(t *testing.T) {
			events, _ := decodeAll(t, strings.NewReader(tc.line))
			checkBounds(t, events[0])
			dropped := events[0].GetDropped()
			if len(dropped) != 1 || dropped[0].GetField() != tc.field || dropped[0].GetReason() != "oversize" || dropped[0].GetBytes() <= maxPayload {
				t.Errorf("dropped: %v", dropped)
			}
		})
	}
	t.Run("a payload at the bound stays", func(t *testing.T) {
		events, _ := decodeAll(t, strings.NewReader(item(`"type":"web_search","query":"`+big[1:]+`"`)))
		if len(events[0].GetDropped()) != 0 || len(itemOf(events[0]).GetWebSearch().GetQuery()) != maxPayload {
			t.Errorf("dropped: %v", events[0].GetDropped())
		}
	})
}

func TestMessagesAreCutOnRunes(t *testing.T) {
	for offset := range 4 {
		text := strings.Repeat("x", offset) + strings.Repeat("🤖", 2000)
		events, _ := decodeAll(t, strings.NewReader(`{"type":"error","message":"`+text+`"}`))
		got := events[0].Message
		if len(got) > maxMessage || len(got) < maxMessage-4 || !strings.HasSuffix(got, truncated) || !utf8.ValidString(got) {
			t.Errorf("%d bytes, end %q", len(got), got[len(got)-20:])
		}
	}
}

func TestDeepNesting(t *testing.T) {
	nested := func(depth int) string {
		return `{"type":"turn.started","x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}\n"
	}
	events, _ := decodeAll(t, strings.NewReader(nested(maxDepth-1)+nested(maxDepth+1)+nested(1_000_000)))
	if events[0].GetTurnStarted() == nil {
		t.Errorf("refused: %s", events[0].Message)
	}
	for _, e := range events[1:] {
		if !strings.Contains(e.Message, "parse error (redacted): nested too deeply (line_bytes=") {
			t.Errorf("got %q", e.Message)
		}
	}
}

// TestNextNeverWaitsWithEventsInHand reads from a pipe whose writer waits for the
// events of what it has written.
func TestNextNeverWaitsWithEventsInHand(t *testing.T) {
	reader, writer := io.Pipe()
	written := make(chan error, 1)
	proceed := make(chan struct{})
	go func() {
		line := `{"type":"turn.started"}` + "\n"
		for range 3 {
			if _, err := io.WriteString(writer, line+line+line[:5]); err != nil {
				written <- err
				return
			}
			<-proceed
			if _, err := io.WriteString(writer, line[5:]); err != nil {
				written <- err
				return
			}
			<-proceed
		}
		written <- writer.Close()
	}()
	d := NewDecoder(reader, noon)
	for i := range 6 {
		batch, err := d.Next()
		if want := 2 - i%2; err != nil || len(batch) != want {
			t.Fatalf("batch %d has %d events (%v), want %d", i, len(batch), err, want)
		}
		proceed <- struct{}{}
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestReadErrorComesBehindTheEvents(t *testing.T) {
	broken := errors.New("broken")
	d := NewDecoder(io.MultiReader(strings.NewReader(`{"type":"turn.started"}`+"\nrest"), iotest.ErrReader(broken)), noon)
	var kinds []string
	for {
		batch, err := d.Next()
		if err != nil {
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			break
		}
		for _, e := range batch {
			kinds = append(kinds, e.GetKind().String())
		}
	}
	if len(kinds) != 2 {
		t.Errorf("got %q", kinds)
	}
	if _, err := d.Next(); !errors.Is(err, broken) {
		t.Errorf("the error was forgotten: %v", err)
	}
}

func TestEveryWayOfReadingGivesTheSameEvents(t *testing.T) {
	corpus := []byte("\n" + agentLine("a") + "\r\n" + agentLine("b")[:20] + "\n" + agentLine(strings.Repeat("c", 100_000)) + `{"type":"turn.started"}`)
	want, _ := decodeAll(t, bytes.NewReader(corpus))
	for name, reader := range map[string]io.Reader{
		"byte by byte":        iotest.OneByteReader(bytes.NewReader(corpus)),
		"halves":              iotest.HalfReader(bytes.NewReader(corpus)),
		"error with the data": iotest.DataErrReader(bytes.NewReader(corpus)),
	} {
		got, _ := decodeAll(t, reader)
		if len(got) != len(want) {
			t.Errorf("%s: %d events, want %d", name, len(got), len(want))
			continue
		}
		for i := range got {
			if !proto.Equal(got[i], want[i]) {
				t.Errorf("%s: event %d is %v", name, i, got[i])
			}
		}
	}
}

func TestStats(t *testing.T) {
	corpus := "\n" + `{"type":"new"}` + "\n" + `{"type":"item.completed","item":{"id":"i","type":"new"}}` + "\n" + "garbage\n" + `{"type":"error"}` + "\n"
	_, stats := decodeAll(t, strings.NewReader(corpus))
	if want := (Stats{Lines: 5, Bytes: 93, UnknownEvents: 1, UnknownItems: 1, LineErrors: 2, LongestLine: 56}); stats != want {
		t.Errorf("got %+v, want %+v", stats, want)
	}
}
