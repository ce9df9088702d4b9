package telegramsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// Incoming is a message that somebody writes.
type Incoming struct {
	// ChatID is positive for a private chat, negative for a group.
	ChatID int64 `json:"chat_id"`
	// ChatType is "private", "group", "supergroup" or "channel"; empty:
	// "private" or "supergroup" by the sign of ChatID.
	ChatType string `json:"chat_type"`
	// TopicID is the topic it is written in, which exists from then on; 0: none.
	TopicID int64 `json:"topic_id"`
	// UserID is who writes; 0: ChatID in a private chat, 1 elsewhere.
	UserID int64 `json:"user_id"`
	// Username and FirstName are the writer's; FirstName empty: "Test".
	Username  string `json:"username"`
	FirstName string `json:"first_name"`
	// Bot says that a bot writes.
	Bot bool `json:"is_bot"`
	// Text is the message; empty: a message without text.
	Text string `json:"text"`
	// ReplyTo is the message it replies to; 0: none.
	ReplyTo int64 `json:"reply_to"`
	// Date is the message's date in Unix seconds; 0: now.
	Date int64 `json:"date"`
	// Edited makes it an edited_message.
	Edited bool `json:"edited"`
}

// Callback is a press of an inline button.
type Callback struct {
	ChatID int64 `json:"chat_id"`
	// UserID is who presses; 0: ChatID in a private chat, 1 elsewhere.
	UserID int64 `json:"user_id"`
	// MessageID is the message with the button.
	MessageID int64 `json:"message_id"`
	// Data is the button's callback_data.
	Data string `json:"data"`
}

// Injected says what became of an injection.
type Injected struct {
	// UpdateID is the update's id; 0 when allowed_updates leaves it out.
	UpdateID int64 `json:"update_id"`
	// MessageID is the message's id within its chat; 0: it is none.
	MessageID int64 `json:"message_id"`
	// CallbackID is the callback query's id; empty: it is none.
	CallbackID string `json:"callback_id,omitempty"`
}

// Inject queues a message for the bot.
func (s *Sim) Inject(in Incoming) Injected {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chat(in.ChatID)
	c.kind = cmp.Or(in.ChatType, c.kind)
	c.lastID++
	c.incoming[c.lastID] = true
	message := map[string]any{
		"message_id": c.lastID,
		"date":       cmp.Or(in.Date, time.Now().Unix()),
		"chat":       chatObject(in.ChatID, c.kind),
		"from":       userObject(writer(in.UserID, in.ChatID), in.Username, cmp.Or(in.FirstName, "Test"), in.Bot),
	}
	if in.Text != "" {
		message["text"] = in.Text
	}
	if in.TopicID != 0 {
		c.topics[in.TopicID] = true
		message["message_thread_id"], message["is_topic_message"] = in.TopicID, true
	}
	if in.ReplyTo != 0 {
		message["reply_to_message"] = map[string]any{"message_id": in.ReplyTo, "date": 0, "chat": chatObject(in.ChatID, c.kind)}
	}
	kind := "message"
	if in.Edited {
		kind, message["edit_date"] = "edited_message", time.Now().Unix()
	}
	return Injected{UpdateID: s.enqueue(kind, message), MessageID: c.lastID}
}

// InjectCallback queues a press of a button for the bot.
func (s *Sim) InjectCallback(in Callback) Injected {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strconv.FormatInt(s.botID, 10) + "-" + strconv.Itoa(len(s.callbacks)+1)
	s.callbacks[id] = time.Now()
	c := s.chat(in.ChatID)
	message := map[string]any{"message_id": in.MessageID, "date": time.Now().Unix(), "chat": chatObject(in.ChatID, c.kind)}
	if sent := c.sent[in.MessageID]; sent != nil {
		message["text"] = sent.Text
	}
	update := s.enqueue("callback_query", map[string]any{
		"id": id, "data": in.Data, "chat_instance": "1", "message": message,
		"from": userObject(writer(in.UserID, in.ChatID), "", "Test", false),
	})
	return Injected{UpdateID: update, CallbackID: id}
}

// InjectRaw queues an update given as JSON. It gets an update_id where it has
// none, unless it is to be served verbatim: then it may be any JSON, such as an
// update that Telegram would never make. allowed_updates does not apply.
func (s *Sim) InjectRaw(raw json.RawMessage, verbatim bool) (Injected, error) {
	if !json.Valid(raw) {
		return Injected{}, errors.New("telegramsim: the update is not JSON")
	}
	var object map[string]json.RawMessage
	isObject := json.Unmarshal(raw, &object) == nil && object != nil
	if !isObject && !verbatim {
		return Injected{}, errors.New("telegramsim: the update is not an object")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.queue.nextID
	if own, err := strconv.ParseInt(string(bytes.TrimSpace(object["update_id"])), 10, 64); err == nil && own > 0 {
		id = own
	} else if !verbatim {
		object["update_id"] = strconv.AppendInt(nil, id, 10)
		var err error
		if raw, err = json.Marshal(object); err != nil {
			return Injected{}, err
		}
	}
	messageID := s.noteMessage(object["message"])
	s.push(update{id, bytes.Clone(raw)})
	return Injected{UpdateID: id, MessageID: messageID}, nil
}

// noteMessage makes a message of a raw update one that can be replied to.
func (s *Sim) noteMessage(raw json.RawMessage) int64 {
	var message struct {
		ID     int64 `json:"message_id"`
		Thread int64 `json:"message_thread_id"`
		Chat   struct {
			ID   int64  `json:"id"`
			Type string `json:"type"`
		} `json:"chat"`
	}
	if json.Unmarshal(raw, &message) != nil || message.ID == 0 || message.Chat.ID == 0 {
		return 0
	}
	c := s.chat(message.Chat.ID)
	c.kind = cmp.Or(message.Chat.Type, c.kind)
	c.incoming[message.ID] = true
	c.lastID = max(c.lastID, message.ID)
	if message.Thread != 0 {
		c.topics[message.Thread] = true
	}
	return message.ID
}

// enqueue queues an update of a kind and returns its id; 0 when it is not wanted.
func (s *Sim) enqueue(kind string, content map[string]any) int64 {
	if !s.queue.wanted(kind) {
		return 0
	}
	id := s.queue.nextID
	// Strings, numbers and maps of them: this cannot fail.
	raw, _ := json.Marshal(map[string]any{"update_id": id, kind: content})
	s.push(update{id, raw})
	return id
}

func (s *Sim) push(u update) {
	s.queue.pending = append(s.queue.pending, u)
	s.queue.nextID = max(s.queue.nextID, u.id+1)
	s.notify()
}

// DeleteTopic makes a topic one that messages cannot be sent to.
func (s *Sim) DeleteTopic(chatID, topicID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.chat(chatID).topics, topicID)
}

func writer(userID, chatID int64) int64 {
	if userID == 0 && chatID < 0 {
		return 1
	}
	return cmp.Or(userID, chatID)
}

func chatObject(id int64, kind string) map[string]any {
	chat := map[string]any{"id": id, "type": kind}
	if kind == "private" {
		chat["first_name"] = "Test"
	} else {
		chat["title"] = "Test"
	}
	return chat
}

func userObject(id int64, username, firstName string, bot bool) map[string]any {
	user := map[string]any{"id": id, "is_bot": bot, "first_name": firstName}
	if username != "" {
		user["username"] = username
	}
	return user
}
