package responses_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/responses"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	object = map[string]any
	event  = map[string]any
)

func start(t *testing.T, book responses.Book) *responses.Provider {
	t.Helper()
	p, err := responses.Start(book)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func user(text string) object {
	return object{"type": "message", "role": "user", "content": []object{{"type": "input_text", "text": text}}}
}

// post sends a conversation and returns the answer as it starts to arrive.
func post(t *testing.T, ctx context.Context, p *responses.Provider, key string, input ...object) (*http.Response, error) {
	t.Helper()
	body, err := json.Marshal(object{"model": "gpt-5.5", "stream": true, "input": input})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/responses", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return (&http.Client{Transport: transport}).Do(request)
}

// ask sends a conversation and returns the events of the whole answer.
func ask(t *testing.T, p *responses.Provider, input ...object) []event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	response, err := post(t, ctx, p, responses.Key, input...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, content type %q", response.StatusCode, response.Header.Get("Content-Type"))
	}
	var events []event
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		data, isData := strings.CutPrefix(line, "data: ")
		if !isData {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
}

// doneItems are the output items of an answer, in their last form.
func doneItems(events []event) []object {
	var items []object
	for _, e := range events {
		if e["type"] == "response.output_item.done" {
			items = append(items, e["item"].(object))
		}
	}
	return items
}

// saidIn is the text of the first message of an answer.
func saidIn(t *testing.T, events []event) string {
	t.Helper()
	for _, item := range doneItems(events) {
		if item["type"] == "message" {
			return item["content"].([]any)[0].(object)["text"].(string)
		}
	}
	t.Fatal("no message in the answer")
	return ""
}

func last(events []event) string { return events[len(events)-1]["type"].(string) }

func TestMessageArrivesInDeltasAndWhole(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("grüße €\n", 40_000)
	p := start(t, responses.Book{"hello": {responses.Say(text), responses.Say("bye")}})
	events := ask(t, p, user("<environment_context>\n…</environment_context>"), user(" hello\n"))
	var deltas strings.Builder
	for _, e := range events {
		if e["type"] == "response.output_text.delta" && e["output_index"] == 0.0 {
			deltas.WriteString(e["delta"].(string))
		}
	}
	if deltas.String() != text {
		t.Errorf("the deltas hold %d bytes that differ from the %d of the text", deltas.Len(), len(text))
	}
	if got := saidIn(t, events); got != text {
		t.Errorf("the item holds %d bytes that differ from the %d of the text", len(got), len(text))
	}
	if items := doneItems(events); len(items) != 2 || last(events) != "response.completed" {
		t.Errorf("%d items, last event %s", len(items), last(events))
	}
}

func TestScriptGoesOnAfterEachToolCall(t *testing.T) {
	t.Parallel()
	p := start(t, responses.Book{"work": {
		responses.Think("first a look"), responses.Run("ls"),
		responses.Patch("*** Add File: a.txt\n+text"), responses.Plan(1, "look", "write"),
		responses.Call("mcp__files", "count", map[string]any{"dir": "."}), responses.Say("done"),
	}})
	conversation := []object{user("work")}
	var names []string
	for range 4 {
		items := doneItems(ask(t, p, conversation...))
		call := items[len(items)-1]
		names = append(names, call["name"].(string))
		conversation = append(conversation, call,
			object{"type": call["type"].(string) + "_output", "call_id": call["call_id"], "output": "ok"})
	}
	if got := strings.Join(names, " "); got != "exec_command apply_patch update_plan count" {
		t.Errorf("calls: %s", got)
	}
	if got := saidIn(t, ask(t, p, conversation...)); got != "done" {
		t.Errorf("said %q", got)
	}
	seen := p.Requests()
	if got := seen[len(seen)-1]; got.Calls != 4 || len(got.Outputs) != 4 || got.Model != "gpt-5.5" {
		t.Errorf("last conversation: %+v", got)
	}
}

func TestRunningCommandIsPolledUnlessLeft(t *testing.T) {
	t.Parallel()
	p := start(t, responses.Book{
		"wait":  {responses.Run("sleep 60"), responses.Say("over")},
		"leave": {responses.Leave("sleep 60"), responses.Say("left")},
	})
	call := object{"type": "function_call", "name": "exec_command", "call_id": "c1", "arguments": "{}"}
	stillRunning := object{
		"type": "function_call_output", "call_id": "c1",
		"output": "Wall time: 30 seconds\nProcess running with session ID 41\nOutput:\n",
	}
	items := doneItems(ask(t, p, user("wait"), call, stillRunning))
	if len(items) != 1 || items[0]["name"] != "write_stdin" || !strings.Contains(items[0]["arguments"].(string), `"session_id":41`) {
		t.Fatalf("items: %v", items)
	}
	poll := items[0]
	ended := object{"type": "function_call_output", "call_id": poll["call_id"], "output": "Process exited with code 0"}
	if got := saidIn(t, ask(t, p, user("wait"), call, stillRunning, poll, ended)); got != "over" {
		t.Errorf("after the poll: %q", got)
	}
	if got := saidIn(t, ask(t, p, user("leave"), call, stillRunning)); got != "left" {
		t.Errorf("after leaving it: %q", got)
	}
}

func TestRecallListsEarlierPromptsOnly(t *testing.T) {
	t.Parallel()
	p := start(t, responses.Book{"what did I say?": {responses.Recall()}})
	assistant := object{"type": "message", "role": "assistant", "content": []object{{"type": "output_text", "text": "no prompt"}}}
	events := ask(t, p, user("one"), assistant, user("<turn_aborted>\n…"), user("# AGENTS.md instructions\n…"),
		object{"type": "message", "role": "user", "content": "two"}, user("what did I say?"))
	if got := saidIn(t, events); got != "I remember 2:\none\ntwo" {
		t.Errorf("said %q", got)
	}
	if got := saidIn(t, ask(t, p, user("what did I say?"))); got != "I remember 0:\n" {
		t.Errorf("in a new thread: %q", got)
	}
}

func TestUsageIsReported(t *testing.T) {
	t.Parallel()
	cost := responses.Usage{Input: 10, Cached: 4, Output: 7, Reasoning: 3}
	p := start(t, responses.Book{"dear": {responses.Cost(cost), responses.Say("x")}, "default": {responses.Say("x")}})
	for prompt, want := range map[string]responses.Usage{"dear": cost, "default": responses.DefaultUsage} {
		events := ask(t, p, user(prompt))
		usage := events[len(events)-1]["response"].(object)["usage"].(object)
		got := responses.Usage{
			Input: int64(usage["input_tokens"].(float64)), Output: int64(usage["output_tokens"].(float64)),
			Cached:    int64(usage["input_tokens_details"].(object)["cached_tokens"].(float64)),
			Reasoning: int64(usage["output_tokens_details"].(object)["reasoning_tokens"].(float64)),
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", prompt, got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	p := start(t, responses.Book{
		"too long": {responses.Fail("context_length_exceeded", "too long")},
		"refused":  {responses.Refuse(http.StatusTooManyRequests)},
	})
	for prompt, code := range map[string]string{"too long": "context_length_exceeded", "not in the book": "invalid_prompt"} {
		events := ask(t, p, user(prompt))
		failure, _ := events[len(events)-1]["response"].(object)["error"].(object)
		if last(events) != "response.failed" || failure["code"] != code {
			t.Errorf("%s: %s %v", prompt, last(events), failure)
		}
	}
	for _, refused := range []struct {
		name, key, prompt string
		status            int
	}{
		{"scripted status", responses.Key, "refused", http.StatusTooManyRequests},
		{"another key", "sk-other", "too long", http.StatusUnauthorized},
	} {
		response, err := post(t, t.Context(), p, refused.key, user(refused.prompt))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != refused.status {
			t.Errorf("%s: status %d", refused.name, response.StatusCode)
		}
	}
}

func TestSilenceLastsUntilTheClientHangsUp(t *testing.T) {
	t.Parallel()
	p := start(t, responses.Book{"quiet": {responses.Silence()}})
	ctx, hangUp := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		response, err := post(t, ctx, p, responses.Key, user("quiet"))
		if err == nil {
			_ = response.Body.Close()
		}
		answered <- err
	}()
	await(t, "the request is in flight", func() bool { return p.InFlight() == 1 })
	select {
	case err := <-answered:
		t.Fatalf("answered before the client hung up: %v", err)
	default:
	}
	hangUp()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the client saw %v", err)
	}
	await(t, "the request is over", func() bool { return p.InFlight() == 0 })
}

func TestCloseBreaksOffWhatIsBeingAnswered(t *testing.T) {
	t.Parallel()
	p, err := responses.Start(responses.Book{"slow": {responses.Tick(1000, time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := post(t, t.Context(), p, responses.Key, user("slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the stream ended tidily")
	}
}

func TestTickSendsOneDeltaAnInterval(t *testing.T) {
	t.Parallel()
	const interval = 20 * time.Millisecond
	p := start(t, responses.Book{"slow": {responses.Tick(3, interval)}})
	began := time.Now()
	if got := saidIn(t, ask(t, p, user("slow"))); got != "tick 1 tick 2 tick 3 " {
		t.Errorf("said %q", got)
	}
	if took := time.Since(began); took < 2*interval {
		t.Errorf("took %v", took)
	}
}

func TestWriteHomeNamesTheProvider(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	home := filepath.Join(t.TempDir(), "home")
	if err := p.WriteHome(home); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(home, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{p.URL(), responses.KeyVariable} {
		if !strings.Contains(string(text), `"`+want+`"`) {
			t.Errorf("config.toml does not name %s", want)
		}
	}
	if err := p.WriteHome("/dev/null/home"); err == nil {
		t.Error("a home beneath a file was made")
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
