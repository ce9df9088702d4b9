//go:build real

package real_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// mcpVariable makes the test binary an MCP server on its standard input and output, so that Codex has one to call.
const mcpVariable = "TELECODEX_REAL_MCP_SERVER"

type object = map[string]any

// serveMCP answers JSON-RPC requests, one a line, until in ends: a server with the tools ping and fail.
func serveMCP(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var request struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Name            string `json:"name"`
				ProtocolVersion string `json:"protocolVersion"`
				Arguments       struct {
					Text string `json:"text"`
				} `json:"arguments"`
			} `json:"params"`
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("mcp request: %w", err)
		}
		if request.ID == nil {
			continue // a notification wants no answer
		}
		answer := object{"jsonrpc": "2.0", "id": request.ID}
		switch request.Method {
		case "initialize":
			answer["result"] = object{
				"protocolVersion": request.Params.ProtocolVersion, "capabilities": object{"tools": object{}},
				"serverInfo": object{"name": "helper", "version": "1"},
			}
		case "tools/list":
			answer["result"] = object{"tools": []object{mcpTool("ping"), mcpTool("fail")}}
		case "tools/call":
			answer["result"] = callMCPTool(request.Params.Name, request.Params.Arguments.Text)
		default:
			answer["error"] = object{"code": -32601, "message": "no such method"}
		}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return fmt.Errorf("mcp answer: %w", err)
		}
	}
	return lines.Err()
}

// A tool that is not marked as read-only would need an approval, which nobody is there to give.
func mcpTool(name string) object {
	return object{
		"name": name, "description": "A tool for tests.", "annotations": object{"readOnlyHint": true},
		"inputSchema": object{"type": "object", "properties": object{"text": object{"type": "string"}}},
	}
}

func callMCPTool(name, text string) object {
	if name == "ping" {
		return object{
			"content":           []object{{"type": "text", "text": "pong " + text}},
			"structuredContent": object{"ok": true},
		}
	}
	return object{"content": []object{{"type": "text", "text": "it failed"}}, "isError": true}
}
