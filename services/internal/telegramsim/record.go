package telegramsim

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// maxCalls is how many calls are kept; the oldest go first.
const maxCalls = 100_000

// Message is a message that the bot sent.
type Message struct {
	// Seq numbers the messages of all chats from 1.
	Seq int `json:"seq"`
	// At is when it was sent.
	At time.Time `json:"at"`
	// Method is "sendMessage" or "sendDocument".
	Method    string `json:"method"`
	ChatID    int64  `json:"chat_id"`
	TopicID   int64  `json:"topic_id,omitempty"`
	MessageID int64  `json:"message_id"`
	// ReplyTo is the message it replies to; 0: none, or one that was gone.
	ReplyTo int64 `json:"reply_to,omitempty"`
	// Text is the text, or a document's caption, as the bot last wrote it:
	// untrimmed.
	Text     string          `json:"text"`
	Entities json.RawMessage `json:"entities,omitempty"`
	Document *Document       `json:"document,omitempty"`
	// ReplyMarkup is the JSON that the bot sent.
	ReplyMarkup json.RawMessage `json:"reply_markup,omitempty"`
	// Silent says that it did not notify.
	Silent bool `json:"silent,omitempty"`
	// Earlier are the texts that edits replaced, oldest first.
	Earlier  []string  `json:"earlier,omitempty"`
	EditedAt time.Time `json:"edited_at,omitzero"`
}

// Document is a file that the bot sent.
type Document struct {
	Name string `json:"name"`
	// Content is base64 in JSON.
	Content []byte `json:"content"`
}

// Call is one Bot API call.
type Call struct {
	// Seq numbers the calls from 1.
	Seq    int       `json:"seq"`
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	ChatID int64     `json:"chat_id,omitempty"`
	// Args are the parameters, files excepted; what is no string is JSON text.
	Args map[string]string `json:"args"`
	// Status is the HTTP status of the answer, or of the one that a fault kept
	// back; 0 while there is none.
	Status int `json:"status"`
}

// Action is a chat action that the bot showed.
type Action struct {
	At      time.Time `json:"at"`
	ChatID  int64     `json:"chat_id"`
	TopicID int64     `json:"topic_id,omitempty"`
	Action  string    `json:"action"`
}

// record notes a call and picks its fault.
func (s *Sim) record(method string, a args) (*Call, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := &Call{Seq: 1, At: time.Now(), Method: method, ChatID: a.integer("chat_id"), Args: a.values}
	if n := len(s.calls); n > 0 {
		call.Seq = s.calls[n-1].Seq + 1
	}
	if len(s.calls) == maxCalls {
		s.calls = s.calls[1:]
	}
	s.calls = append(s.calls, call)
	s.notify()
	fault := s.strike(method, call.ChatID)
	if fault == nil {
		fault = s.misconduct.draw(method)
	}
	return call, fault
}

func (s *Sim) settle(call *Call, status int) {
	s.mu.Lock()
	call.Status = status
	settled := *call
	s.notify()
	s.mu.Unlock()
	if s.onCall != nil {
		s.onCall(settled)
	}
}

// Messages returns what was sent to a chat, or to all when chatID is 0, oldest
// first.
func (s *Sim) Messages(chatID int64) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Message{}
	for _, m := range s.messages {
		if chatID == 0 || m.ChatID == chatID {
			found = append(found, *m)
		}
	}
	return found
}

// WaitForMessages waits until at least count messages were sent to a chat, or to
// all when chatID is 0, and returns all of them. When ctx ends first it returns
// those there are, and ctx's error.
func (s *Sim) WaitForMessages(ctx context.Context, chatID int64, count int) ([]Message, error) {
	err := s.await(ctx, func() bool {
		if chatID == 0 {
			return len(s.messages) >= count
		}
		return len(s.chat(chatID).sent) >= count
	})
	return s.Messages(chatID), err
}

// Follow yields every message with a Seq above after as it is sent, until ctx
// ends or the simulator is closed. None is ever left out.
func (s *Sim) Follow(ctx context.Context, after int) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for {
			var next Message
			err := s.await(ctx, func() bool {
				if len(s.messages) <= after {
					return false
				}
				next = *s.messages[after]
				return true
			})
			if err != nil || !yield(next) {
				return
			}
			after = next.Seq
		}
	}
}

// CallFilter chooses calls; the zero value chooses all.
type CallFilter struct {
	Method string
	ChatID int64
	// After leaves out calls up to this Seq.
	After int
}

func (f CallFilter) matches(c *Call) bool {
	return c.Seq > f.After && (f.Method == "" || c.Method == f.Method) && (f.ChatID == 0 || c.ChatID == f.ChatID)
}

// Calls returns the calls that the filter chooses, oldest first, of the last
// 100,000.
func (s *Sim) Calls(f CallFilter) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Call{}
	for _, c := range s.calls {
		if f.matches(c) {
			found = append(found, *c)
		}
	}
	return found
}

// WaitForCalls waits until at least count calls that the filter chooses were
// answered, and returns all that it chooses. When ctx ends first it returns those
// there are, and ctx's error.
func (s *Sim) WaitForCalls(ctx context.Context, f CallFilter, count int) ([]Call, error) {
	err := s.await(ctx, func() bool {
		answered := 0
		for _, c := range s.calls {
			if c.Status != 0 && f.matches(c) {
				answered++
			}
		}
		return answered >= count
	})
	return s.Calls(f), err
}

// Actions returns the chat actions that were shown in a chat, or in all when
// chatID is 0, oldest first.
func (s *Sim) Actions(chatID int64) []Action {
	found := []Action{}
	for _, c := range s.Calls(CallFilter{Method: "sendChatAction", ChatID: chatID}) {
		if c.Status == 200 {
			a := args{values: c.Args}
			found = append(found, Action{c.At, c.ChatID, a.integer("message_thread_id"), c.Args["action"]})
		}
	}
	return found
}
