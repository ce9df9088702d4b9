package responses

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"
)

// deltaSize is how many bytes of a text go into one delta at most.
const deltaSize = 64 << 10

// Usage is what a response says it has cost, in tokens.
type Usage struct{ Input, Cached, Output, Reasoning int64 }

// DefaultUsage is reported by every response whose script sets no other.
var DefaultUsage = Usage{Input: 120, Cached: 20, Output: 30, Reasoning: 5}

type object = map[string]any

// reply is one response as a stream of server-sent events. Nothing, not even a header, is sent before the first event.
type reply struct {
	ctx          context.Context // done when Codex hangs up
	w            http.ResponseWriter
	flush        func() error
	conversation Conversation
	nextID       func() uint64
	usage        Usage

	id    string // empty until the first event
	items int    // output items sent so far
}

func (r *reply) newID(prefix string) string { return fmt.Sprintf("%s_%06d", prefix, r.nextID()) }

// begin sends response.created, once.
func (r *reply) begin() error {
	if r.id != "" {
		return nil
	}
	r.id = r.newID("resp")
	r.w.Header().Set("Content-Type", "text/event-stream")
	r.w.Header().Set("Cache-Control", "no-cache")
	return r.event("response.created", object{"response": r.state("in_progress")})
}

func (r *reply) state(status string) object {
	return object{"id": r.id, "object": "response", "status": status, "model": r.conversation.Model}
}

func (r *reply) event(kind string, fields object) error {
	fields["type"] = kind
	data, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("scripted provider: %w", err)
	}
	if _, err := fmt.Fprintf(r.w, "event: %s\ndata: %s\n\n", kind, data); err != nil {
		return fmt.Errorf("scripted provider: %w", err)
	}
	return r.flush()
}

// complete ends the response well.
func (r *reply) complete() error {
	if err := r.begin(); err != nil {
		return err
	}
	state := r.state("completed")
	state["usage"] = object{
		"input_tokens":          r.usage.Input,
		"input_tokens_details":  object{"cached_tokens": r.usage.Cached},
		"output_tokens":         r.usage.Output,
		"output_tokens_details": object{"reasoning_tokens": r.usage.Reasoning},
		"total_tokens":          r.usage.Input + r.usage.Output,
	}
	return r.event("response.completed", object{"response": state})
}

// fail ends the response badly.
func (r *reply) fail(code, message string) error {
	if err := r.begin(); err != nil {
		return err
	}
	state := r.state("failed")
	state["error"] = object{"code": code, "message": message}
	return r.event("response.failed", object{"response": state})
}

// item sends an output item: an event for its start, what body sends, and one for its end. body may be nil.
func (r *reply) item(start, end object, body func(index int) error) error {
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.event("response.output_item.added", object{"output_index": r.items, "item": start}); err != nil {
		return err
	}
	if body != nil {
		if err := body(r.items); err != nil {
			return err
		}
	}
	if err := r.event("response.output_item.done", object{"output_index": r.items, "item": end}); err != nil {
		return err
	}
	r.items++
	return nil
}

// message sends an agent message, the pieces as one delta each and pause between them.
func (r *reply) message(pieces []string, pause time.Duration) error {
	id, text := r.newID("msg"), ""
	for _, piece := range pieces {
		text += piece
	}
	end := object{
		"type": "message", "id": id, "status": "completed", "role": "assistant",
		"content": []object{{"type": "output_text", "text": text, "annotations": []any{}}},
	}
	start := object{"type": "message", "id": id, "status": "in_progress", "role": "assistant", "content": []any{}}
	return r.item(start, end, func(index int) error {
		for i, piece := range pieces {
			if i > 0 {
				if err := r.wait(pause); err != nil {
					return err
				}
			}
			delta := object{"item_id": id, "output_index": index, "content_index": 0, "delta": piece}
			if err := r.event("response.output_text.delta", delta); err != nil {
				return err
			}
		}
		return nil
	})
}

// call sends a tool call under a new call id.
func (r *reply) call(item object) error {
	item["id"], item["call_id"], item["status"] = r.newID("item"), r.newID("call"), "completed"
	return r.item(item, item, nil)
}

// wait lets pause pass, or fails when Codex hangs up meanwhile.
func (r *reply) wait(pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// split cuts text into deltas on rune boundaries.
func split(text string) []string {
	var pieces []string
	for len(text) > deltaSize {
		cut := deltaSize
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		pieces, text = append(pieces, text[:cut]), text[cut:]
	}
	return append(pieces, text)
}
