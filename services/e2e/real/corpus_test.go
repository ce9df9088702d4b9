//go:build real

package real_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/responses"
)

var record = flag.Bool("record", false, "write the corpus of the decoder's tests anew from what the real Codex prints")

// corpusDir is where the decoder's tests look, relative to the repository.
var corpusDir = filepath.Join("services", "orchestrator", "internal", "codex", "testdata", "real")

// recording is one run of Codex whose output goes into the corpus.
type recording struct {
	name    string
	sandbox string   // empty: workspace-write
	options []string // further options of codex itself
	prompts []string // one process each, the later ones resuming the thread of the first
	stop    string   // interrupt Codex when its output holds this
	env     string   // the provider's key; empty: the right one
}

// corpusBook is what the model does in the recordings.
var corpusBook = responses.Book{
	"Say hello.":  {responses.Say("Hello.")},
	"Think aloud": {responses.Think("The person wants to see my thoughts."), responses.Say("First."), responses.Say("Second.")},
	"Say it in every script": {responses.Say(
		"Zeichen: ä ß € 漢字 🧑‍💻 e\u0301\nline\u2028separator \u2029 tab\t quote\" backslash\\ </script> \u0001 \u007f \ufeff end")},
	"Run commands": {
		responses.Run("(echo out; echo err >&2) 2>&1; exit 3"), responses.Run("printf 'no newline'"),
		responses.Run("touch made"), responses.Say("One failed, two worked."),
	},
	"Write where you may not": {responses.Run("touch made || echo refused"), responses.Say("I may only read.")},
	"Print a lot":             {responses.Run("seq 1 14000"), responses.Say("That was a lot.")},
	"Write a lot":             {responses.Say(strings.Repeat("A line of an answer that is too long for one event. äöü\n", 1300))},
	"Leave it running":        {responses.Leave("echo started; sleep 60"), responses.Say("It runs in the background.")},
	"Sleep":                   {responses.Run("echo started; sleep 60"), responses.Say("Awake.")},
	"Change files": {
		responses.Patch("*** Add File: a.txt\n+one\n+two\n*** Add File: b.txt\n+three"),
		responses.Patch("*** Update File: a.txt\n@@\n-one\n+ONE\n*** Delete File: b.txt"),
		responses.Patch("*** Update File: missing.txt\n@@\n-x\n+y"), responses.Say("Changed."),
	},
	"Make a plan": {
		responses.Plan(0, "read", "write", "check"), responses.Plan(1, "read", "write", "check"),
		responses.Plan(3, "read", "write", "check"), responses.Say("Planned and done."),
	},
	"Search the web": {responses.Search("protobuf \"oneof\""), responses.Say("Found.")},
	"Use the tools": {
		responses.Call("mcp__helper", "ping", map[string]any{"text": "hey", "n": 1.5}),
		responses.Call("mcp__helper", "fail", map[string]any{}), responses.Say("Used."),
	},
	// The agent that is asked never answers: its answer would come before or after the other's end, by chance.
	"Ask another agent":    {responses.Call("multi_agent_v1", "spawn_agent", map[string]any{"message": "Take your time."}), responses.Say("Asked.")},
	"Take your time.":      {responses.Silence()},
	"Remember heron.":      {responses.Cost(responses.Usage{Input: 1000, Output: 10}), responses.Say("I will.")},
	"What did I say?":      {responses.Cost(responses.Usage{Input: 2000, Cached: 900, Output: 20, Reasoning: 7}), responses.Recall()},
	"Say nothing":          {responses.Run("true")},
	"A very long question": {responses.Fail("context_length_exceeded", "Your input exceeds the context window of this model.")},
	"Too many questions":   {responses.Refuse(http.StatusTooManyRequests)},
	"Break down":           {responses.Refuse(http.StatusInternalServerError)},
}

var recordings = []recording{
	{name: "answer", prompts: []string{"Say hello."}},
	{name: "reasoning", prompts: []string{"Think aloud"}},
	{name: "unicode", prompts: []string{"Say it in every script"}},
	{name: "commands", prompts: []string{"Run commands"}},
	{name: "command_full_access", sandbox: "danger-full-access", prompts: []string{"Run commands"}},
	{name: "command_read_only", sandbox: "read-only", prompts: []string{"Write where you may not"}},
	{name: "command_large_output", prompts: []string{"Print a lot"}},
	{name: "command_left_running", prompts: []string{"Leave it running"}},
	{name: "command_interrupted", prompts: []string{"Sleep"}, stop: "item.started"},
	{name: "answer_large", prompts: []string{"Write a lot"}},
	{name: "files", prompts: []string{"Change files"}},
	{name: "plan", prompts: []string{"Make a plan"}},
	{name: "web_search", prompts: []string{"Search the web"}},
	{name: "mcp", prompts: []string{"Use the tools"}, options: []string{
		"-c", "mcp_servers.helper.command=" + quoted(os.Args[0]), "-c", "mcp_servers.helper.env={" + mcpVariable + `="1"}`,
	}},
	{name: "collaboration", prompts: []string{"Ask another agent"}},
	{name: "resumed", prompts: []string{"Remember heron.", "What did I say?"}},
	{name: "no_answer", prompts: []string{"Say nothing"}},
	{name: "unknown_model", prompts: []string{"Say hello."}, options: []string{"-m", "scripted-model"}},
	{name: "context_length", prompts: []string{"A very long question"}},
	{name: "rate_limited", prompts: []string{"Too many questions"}},
	{name: "provider_broken", prompts: []string{"Break down"}},
	{name: "unauthorized", prompts: []string{"Say hello."}, env: "sk-wrong"},
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }

func TestCorpus(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the corpus is recorded on Linux; elsewhere shells and sandboxes print other things")
	}
	bin := nativeCodex(t)
	provider := startProvider(t, corpusBook)
	home := filepath.Join(scratch(t), "home")
	if err := provider.WriteHome(home); err != nil {
		t.Fatal(err)
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			outputs := r.run(t, bin, home, provider.URL())
			for i, got := range outputs {
				name := r.name
				if i > 0 {
					name = fmt.Sprintf("%s_%d", r.name, i+1)
				}
				path := filepath.Join(root, corpusDir, name+".jsonl")
				if *record {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("Codex no longer prints %s (record it anew with -record, and read the difference):\n%s", path, clip(got))
				}
			}
		})
	}
}

func clip(text []byte) []byte { return text[:min(len(text), 4096)] }

// run runs Codex once for each prompt and returns what it printed, without what changes from run to run.
func (r recording) run(t *testing.T, bin, home, providerURL string) [][]byte {
	t.Helper()
	dir := filepath.Join(scratch(t), "work")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	clean := newNormaliser(dir, providerURL)
	var outputs [][]byte
	thread := ""
	for _, prompt := range r.prompts {
		raw := r.runOne(t, bin, home, dir, thread, prompt)
		if match := threadStarted.FindSubmatch(raw); match != nil {
			thread = string(match[1])
		}
		outputs = append(outputs, clean.text(raw))
	}
	return outputs
}

var threadStarted = regexp.MustCompile(`^\{"type":"thread\.started","thread_id":"([^"]+)"`)

func (r recording) runOne(t *testing.T, bin, home, dir, thread, prompt string) []byte {
	t.Helper()
	sandbox := r.sandbox
	if sandbox == "" {
		sandbox = "workspace-write"
	}
	args := append([]string{"--ask-for-approval", "never"}, r.options...)
	args = append(args, "exec", "--json", "--skip-git-repo-check", "--sandbox", sandbox, "-C", dir)
	if thread != "" {
		args = append(args, "resume", thread)
	}
	key := responses.Key
	if r.env != "" {
		key = r.env
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, bin, append(args, "-")...)
	command.Dir = dir
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(dir), "LANG=C.UTF-8", "CODEX_HOME=" + home,
		responses.KeyVariable + "=" + key,
	}
	command.Stdin = strings.NewReader(prompt)
	output := &watchedOutput{watchFor: []byte(r.stop), found: func() { _ = command.Process.Signal(os.Interrupt) }}
	var stderr bytes.Buffer
	command.Stdout, command.Stderr = output, &stderr
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("codex: %v\n%s", err, stderr.Bytes())
	}
	return output.kept.Bytes()
}

// watchedOutput keeps what is written and calls found once, when it holds what is watched for.
type watchedOutput struct {
	kept     bytes.Buffer
	watchFor []byte
	found    func()
}

func (o *watchedOutput) Write(p []byte) (int, error) {
	n, err := o.kept.Write(p)
	if len(o.watchFor) > 0 && bytes.Contains(o.kept.Bytes(), o.watchFor) {
		o.watchFor = nil
		o.found()
	}
	return n, err
}

// normaliser replaces what differs from run to run and from machine to machine.
type normaliser struct {
	fixed *strings.Replacer
	ids   map[string]string
}

var (
	uuid      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	searchIDs = regexp.MustCompile(`"ws_\d+"`)
)

func newNormaliser(dir, providerURL string) *normaliser {
	return &normaliser{
		fixed: strings.NewReplacer(dir, "/workspace", providerURL, "http://provider.test/v1"),
		ids:   map[string]string{},
	}
}

func (n *normaliser) text(raw []byte) []byte {
	text := n.fixed.Replace(string(raw))
	text = searchIDs.ReplaceAllLiteralString(text, `"ws_000001"`)
	text = uuid.ReplaceAllStringFunc(text, func(id string) string {
		if n.ids[id] == "" {
			n.ids[id] = fmt.Sprintf("01a00000-0000-7000-8000-%012d", len(n.ids)+1)
		}
		return n.ids[id]
	})
	return []byte(text)
}
