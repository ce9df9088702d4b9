package dispatch

import (
	"strings"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/store"
)

const (
	// partBytes is the most that one event holds of a text.
	partBytes = 64 << 10
	// maxParts bounds what is set aside on the word of a worker.
	maxParts = 1024
)

// reply gathers from the events of a turn what its end needs: the whole text of
// the last agent message, however many events carry it, and the usage.
type reply struct {
	text  strings.Builder
	start uint64 // sequence of the first event of the message; 0: none yet
	usage *store.Usage
	// completed: Codex said that the turn is complete.
	completed bool
}

func (r *reply) add(e *orchestratorv1.TurnEvent) {
	r.completed = r.completed || e.GetTurnCompleted() != nil
	if u := e.GetTurnCompleted().GetUsage(); u != nil {
		r.usage = &store.Usage{InputTokens: u.GetInputTokens(), CachedInputTokens: u.GetCachedInputTokens(),
			CacheWriteInputTokens: u.GetCacheWriteInputTokens(), OutputTokens: u.GetOutputTokens(),
			ReasoningOutputTokens: u.GetReasoningOutputTokens()}
	}
	message := e.GetItemCompleted().GetItem().GetAgentMessage()
	if message == nil || e.GetKind() != orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT {
		return
	}
	if part := message.GetTextPart(); part.GetPart() <= 1 {
		r.text.Reset()
		r.start = e.GetSequence()
		if part.GetParts() > 1 { // growing step by step would hold megabytes twice
			r.text.Grow(int(min(part.GetParts(), maxParts)) * partBytes)
		}
	}
	r.text.WriteString(e.GetText())
}

// answer is the whole answer. final_text is its beginning, and stands in where
// the worker points to another message than the one that was gathered.
func (r *reply) answer(f *orchestratorv1.Finished) string {
	if r.start != 0 && r.start == f.GetAnswerSequence() {
		return r.text.String()
	}
	return f.GetFinalText()
}
