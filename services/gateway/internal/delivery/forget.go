package delivery

import (
	"maps"
	"time"
)

// Forget lets go of what is known of a chat, once nothing waits for it. What still
// holds, Telegram says again; until when the chat has to wait stays.
func (s *Sender) Forget(chatID int64) {
	chatID = s.Store.ChatNow(chatID)
	s.mu.Lock() // nobody waits for this change
	defer s.mu.Unlock()
	if s.chats[chatID] != nil || s.wanted[chatID] {
		s.forgotten[chatID] = true
		return
	}
	s.forget(chatID)
}

// Known is of how many chats anything is known.
func (s *Sender) Known() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.Budget.known()
	for t := range s.noTopic {
		known[t.chat] = true
	}
	return len(known)
}

// forget does it; the caller holds mu.
func (s *Sender) forget(chatID int64) {
	delete(s.forgotten, chatID)
	maps.DeleteFunc(s.noTopic, func(t topic, _ bool) bool { return t.chat == chatID })
	s.Budget.Forget(chatID)
}

// Forget lets go of a chat that is as if it had never been called. Another one is
// forgotten once there are many.
func (b *Budget) Forget(chatID int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.chats[chatID]; a != nil && a.idle(time.Now()) {
		delete(b.chats, chatID)
	}
}

// known are the chats that were called.
func (b *Budget) known() map[int64]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make(map[int64]bool, len(b.chats))
	for id := range b.chats {
		known[id] = true
	}
	return known
}
