package responses

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Conversation is what a request of the Responses API tells about its thread.
type Conversation struct {
	Model   string
	Prompts []string // what the person said, oldest first; what Codex says in the person's name is left out
	Calls   int      // tool calls the model made since the last prompt, polls of a running command not counted
	Outputs []string // what those calls and polls gave back, oldest first
}

// Prompt is the last thing the person said; empty when there is nothing.
func (c Conversation) Prompt() string {
	if len(c.Prompts) == 0 {
		return ""
	}
	return c.Prompts[len(c.Prompts)-1]
}

// Codex speaks in the person's name too: blocks in angle brackets (the environment, an aborted turn, a skill) and the
// project's AGENTS.md.
var injected = regexp.MustCompile(`^(<[a-z_]+[ >]|# AGENTS\.md instructions)`)

// A command that outlasts its yield time is reported with the session by which it can be polled.
var running = regexp.MustCompile(`Process running with session ID (\d+)`)

// runningCommand is the session of the command that the last call left running, if any.
func (c Conversation) runningCommand() (session string, found bool) {
	if len(c.Outputs) == 0 {
		return "", false
	}
	match := running.FindStringSubmatch(c.Outputs[len(c.Outputs)-1])
	if match == nil {
		return "", false
	}
	return match[1], true
}

type inputItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Name    string          `json:"name"`
	Output  json.RawMessage `json:"output"`
}

func readConversation(body io.Reader) (Conversation, error) {
	var request struct {
		Model string      `json:"model"`
		Input []inputItem `json:"input"`
	}
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		return Conversation{}, fmt.Errorf("request body: %w", err)
	}
	c := Conversation{Model: request.Model}
	for _, item := range request.Input {
		switch item.Type {
		case "message":
			text := strings.TrimSpace(joinText(item.Content))
			if item.Role != "user" || injected.MatchString(text) {
				continue
			}
			c.Prompts = append(c.Prompts, text)
			c.Calls, c.Outputs = 0, nil
		case "function_call", "custom_tool_call":
			if item.Name != pollTool {
				c.Calls++
			}
		case "function_call_output", "custom_tool_call_output":
			c.Outputs = append(c.Outputs, joinText(item.Output))
		}
	}
	return c, nil
}

// joinText reads the two forms in which the API holds text: a string, or a list of parts.
func joinText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Text
	}
	return strings.Join(texts, "\n")
}
