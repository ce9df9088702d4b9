package responses

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The tools that Codex 0.169.0 offers a model of the gpt-5.5 kind, by the names it gives them.
const (
	shellTool = "exec_command"
	pollTool  = "write_stdin"
	patchTool = "apply_patch"
	planTool  = "update_plan"
)

// Step is one thing the model does.
type Step struct {
	play  func(*reply) error
	calls bool // a tool call: the response ends with it, and Codex asks again when it has the outcome
	waits bool // a call whose command is polled until it ends
	ends  bool // play has ended the response, or left it without end
}

// Say is an agent message.
func Say(text string) Step {
	return Step{play: func(r *reply) error { return r.message(split(text), 0) }}
}

// Tick is an agent message of n words, "tick 1 tick 2 …", one each interval.
func Tick(n int, interval time.Duration) Step {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("tick %d ", i+1)
	}
	return Step{play: func(r *reply) error { return r.message(words, interval) }}
}

// Recall is an agent message that lists the prompts before the last, one a line: what the thread remembers of the person.
func Recall() Step {
	return Step{play: func(r *reply) error {
		earlier := r.conversation.Prompts[:len(r.conversation.Prompts)-1]
		return r.message([]string{fmt.Sprintf("I remember %d:\n%s", len(earlier), strings.Join(earlier, "\n"))}, 0)
	}}
}

// Think is reasoning, shown as its summary.
func Think(text string) Step {
	return Step{play: func(r *reply) error {
		summary := []object{{"type": "summary_text", "text": text}}
		id := r.newID("rs")
		return r.item(object{"type": "reasoning", "id": id, "summary": []any{}},
			object{"type": "reasoning", "id": id, "summary": summary, "encrypted_content": nil}, nil)
	}}
}

// Search is a search of the web that the provider has already carried out.
func Search(query string) Step {
	return Step{play: func(r *reply) error {
		item := object{
			"type": "web_search_call", "id": r.newID("ws"), "status": "completed",
			"action": object{"type": "search", "query": query},
		}
		return r.item(item, item, nil)
	}}
}

// Cost sets what this response says it has cost.
func Cost(usage Usage) Step {
	return Step{play: func(r *reply) error { r.usage = usage; return nil }}
}

// Run is a shell command; the script goes on when the command has ended.
func Run(command string) Step {
	step := function(shellTool, object{"cmd": command, "yield_time_ms": 30_000})
	step.waits = true
	return step
}

// Leave is a shell command that the model does not wait for: when it outlasts a quarter of a second, it stays running.
func Leave(command string) Step {
	return function(shellTool, object{"cmd": command, "yield_time_ms": 250})
}

// Patch is a change to files, in the language of apply_patch without its first and last line.
func Patch(hunks string) Step {
	return tool(func() object {
		return object{
			"type": "custom_tool_call", "name": patchTool,
			"input": "*** Begin Patch\n" + strings.TrimSuffix(hunks, "\n") + "\n*** End Patch\n",
		}
	})
}

// Plan sets the plan: the first done of the steps are completed, the next one is in progress. Codex offers the tool only with
// tools.update_plan.enabled (see WriteHome).
func Plan(done int, steps ...string) Step {
	plan := make([]object, len(steps))
	for i, step := range steps {
		status := "pending"
		switch {
		case i < done:
			status = "completed"
		case i == done:
			status = "in_progress"
		}
		plan[i] = object{"step": step, "status": status}
	}
	return function(planTool, object{"plan": plan})
}

// Call is a call of any function tool that stands in a namespace: "mcp__<server>" holds the tools of an MCP server,
// "multi_agent_v1" those for agents that work together.
func Call(namespace, name string, arguments map[string]any) Step {
	return tool(func() object {
		call := functionCall(name, arguments)
		call["namespace"] = namespace
		return call
	})
}

// Fail ends the response with response.failed. Codex knows the code context_length_exceeded, among others.
func Fail(code, message string) Step {
	return Step{ends: true, play: func(r *reply) error { return r.fail(code, message) }}
}

// Refuse answers with an HTTP status instead of a stream. It must be the first step of a response.
func Refuse(status int) Step {
	return Step{ends: true, play: func(r *reply) error {
		refuse(r.w, status, "refused", http.StatusText(status))
		return nil
	}}
}

// Silence never answers: as the first step of a response it sends not even headers.
func Silence() Step {
	return Step{ends: true, play: func(r *reply) error {
		<-r.ctx.Done()
		return r.ctx.Err()
	}}
}

// tool makes a step of a tool call; each time it is played, item makes a fresh one.
func tool(item func() object) Step {
	return Step{calls: true, play: func(r *reply) error { return r.call(item()) }}
}

func function(name string, arguments object) Step {
	return tool(func() object { return functionCall(name, arguments) })
}

func functionCall(name string, arguments object) object {
	encoded, err := json.Marshal(arguments)
	if err != nil {
		encoded = []byte("{}") // unreachable: the arguments are made here, of strings and numbers
	}
	return object{"type": "function_call", "name": name, "arguments": string(encoded)}
}

// pollCall asks for more of a command that is still running.
func pollCall(session string) object {
	return functionCall(pollTool, object{"session_id": json.Number(session), "chars": "", "yield_time_ms": 300_000})
}
