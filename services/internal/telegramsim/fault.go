package telegramsim

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"time"
)

// Fault makes calls fail, or take their time. What happens is the first of
// Reset, TruncateBody, TruncateJSON, HTML, Body and Status that is set; with
// none of them the call is only delayed.
type Fault struct {
	// Method is the Bot API method, as the bot writes it; empty: any.
	Method string `json:"method"`
	// ChatID is the chat that the call is for; 0: any.
	ChatID int64 `json:"chat_id"`
	// Count is how many calls it is for; 0: one; negative: all until
	// ClearFaults.
	Count int `json:"count"`
	// DelayMS is how long the call waits first, in milliseconds.
	DelayMS int `json:"delay_ms"`
	// Replay is how many updates that were confirmed a poll brings again, before
	// those that wait.
	Replay int `json:"replay"`
	// Execute carries the call out before it fails: the bot cannot know.
	Execute bool `json:"execute"`

	// Reset resets the connection.
	Reset bool `json:"reset"`
	// TruncateBody ends the connection in the middle of the answer.
	TruncateBody bool `json:"truncate_body"`
	// TruncateJSON answers with half of the JSON, as if it were all.
	TruncateJSON bool `json:"truncate_json"`
	// HTML answers with a page, as a proxy does; Status 0: 502.
	HTML bool `json:"html"`
	// Body is the answer, word for word; Status 0: 200.
	Body string `json:"body"`
	// Status makes it an error of the Bot API's, with this error_code.
	Status int `json:"status"`
	// Description goes with Status; empty: the status's name.
	Description string `json:"description"`
	// RetryAfter goes with Status, in seconds; Status 0: 429.
	RetryAfter int `json:"retry_after"`
	// MigrateToChatID goes with Status; Status 0: 400.
	MigrateToChatID int64 `json:"migrate_to_chat_id"`
}

// Fail adds a fault. Of several that match a call, the oldest strikes.
func (s *Sim) Fail(f Fault) {
	if f.Count == 0 {
		f.Count = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults takes every fault away.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// strike returns the fault for a call; nil: none. s.mu is held.
func (s *Sim) strike(method string, chatID int64) *Fault {
	for _, f := range s.faults {
		if f.Count != 0 && (f.Method == "" || f.Method == method) && (f.ChatID == 0 || f.ChatID == chatID) {
			if f.Count > 0 {
				f.Count--
			}
			struck := *f
			return &struck
		}
	}
	return nil
}

func (f *Fault) fails() bool {
	return f.Reset || f.TruncateBody || f.TruncateJSON || f.HTML || f.Body != "" || f.Status != 0 || f.RetryAfter != 0 || f.MigrateToChatID != 0
}

// response is what the bot gets instead of done, which is empty when the call
// was not carried out.
func (f *Fault) response(done response) response {
	if done.body == nil {
		done = success(map[string]any{"message_id": 1})
	}
	switch {
	case f.Reset, f.TruncateBody:
		return done
	case f.TruncateJSON:
		done.body = done.body[:len(done.body)/2]
		return done
	case f.HTML:
		status := cmp.Or(f.Status, http.StatusBadGateway)
		page := fmt.Sprintf("<html><head><title>%d %s</title></head></html>\n", status, http.StatusText(status))
		return response{status, "text/html", []byte(page), f.RetryAfter}
	case f.Body != "":
		return response{cmp.Or(f.Status, http.StatusOK), "application/json", []byte(f.Body), f.RetryAfter}
	case f.RetryAfter != 0:
		limited := tooMany(f.RetryAfter)
		limited.code, limited.description = cmp.Or(f.Status, limited.code), cmp.Or(f.Description, limited.description)
		return refusal(limited)
	}
	status := cmp.Or(f.Status, http.StatusBadRequest)
	return refusal(&failure{code: status, description: cmp.Or(f.Description, http.StatusText(status)), migrateTo: f.MigrateToChatID})
}

func tooMany(seconds int) *failure {
	return &failure{code: 429, description: fmt.Sprintf("Too Many Requests: retry after %d", seconds), retryAfter: seconds}
}

// Rate is at most Count within any PerMS milliseconds; Count 0: no bound.
type Rate struct {
	Count int `json:"count"`
	PerMS int `json:"per_ms"`
}

// Limits bound messages, documents, edits and chat actions together.
type Limits struct {
	// PerChat bounds each chat.
	PerChat Rate `json:"per_chat"`
	// PerGroup bounds each chat with a negative id, beside PerChat.
	PerGroup Rate `json:"per_group"`
	// Overall bounds all chats together.
	Overall Rate `json:"overall"`
}

// SetLimits replaces the limits and forgets what was sent so far.
func (s *Sim) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limiter = limiter{limits: l}
}

// limiter counts over sliding windows.
type limiter struct {
	limits  Limits
	overall []time.Time
	chats   map[int64][]time.Time
}

// take counts a call, or returns after how many seconds it may come again.
func (l *limiter) take(chatID int64, now time.Time) int {
	if l.limits == (Limits{}) {
		return 0
	}
	if l.chats == nil {
		l.chats = map[int64][]time.Time{}
	}
	wait := max(l.limits.PerChat.wait(l.chats[chatID], now), l.limits.Overall.wait(l.overall, now))
	if chatID < 0 {
		wait = max(wait, l.limits.PerGroup.wait(l.chats[chatID], now))
	}
	if wait > 0 {
		return int(math.Ceil(wait.Seconds()))
	}
	l.chats[chatID] = append(l.chats[chatID], now)
	l.overall = append(l.overall, now)
	return 0
}

func (r Rate) wait(times []time.Time, now time.Time) time.Duration {
	if r.Count <= 0 || len(times) < r.Count {
		return 0
	}
	oldest := times[len(times)-r.Count]
	return max(0, oldest.Add(time.Duration(r.PerMS)*time.Millisecond).Sub(now))
}
