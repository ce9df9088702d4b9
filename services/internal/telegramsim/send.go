package telegramsim

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	maxText          = 4096 // UTF-16 units
	maxCaption       = 1024 // UTF-16 units
	maxUpload        = 50 << 20
	callbackLifetime = 150 * time.Second
)

// botMethods are the methods by their lower-case names: Telegram ignores case.
func (s *Sim) botMethods() map[string]method {
	return map[string]method{
		"getme":               s.getMe,
		"getupdates":          s.getUpdates,
		"getwebhookinfo":      s.getWebhookInfo,
		"setwebhook":          s.setWebhook,
		"deletewebhook":       s.deleteWebhook,
		"sendmessage":         s.limited(s.sendMessage),
		"senddocument":        s.limited(s.sendDocument),
		"editmessagetext":     s.limited(s.editMessageText),
		"sendchataction":      s.limited(s.sendChatAction),
		"answercallbackquery": s.answerCallbackQuery,
		"setmessagereaction":  s.setMessageReaction,
	}
}

// limited applies the rate limits: edits and chat actions count as sends do.
func (s *Sim) limited(do func(a args, c *chat) (any, *failure)) method {
	return func(_ context.Context, a args) (any, *failure) {
		s.mu.Lock()
		defer s.mu.Unlock()
		chatID := a.integer("chat_id")
		if chatID == 0 {
			return nil, badRequest("chat_id is empty")
		}
		if seconds := s.limiter.take(chatID, time.Now()); seconds > 0 {
			return nil, tooMany(seconds)
		}
		return do(a, s.chat(chatID))
	}
}

func (s *Sim) sendMessage(a args, c *chat) (any, *failure) {
	text := a.values["text"]
	if failure := checkText(a, text, "entities", maxText); failure != nil {
		return nil, failure
	}
	m := &Message{Method: "sendMessage", Text: text, Entities: jsonValue(a, "entities")}
	return s.deliver(a, c, m)
}

func (s *Sim) sendDocument(a args, c *chat) (any, *failure) {
	upload, given := a.files["document"]
	caption := a.values["caption"]
	switch {
	case !given:
		return nil, badRequest("there is no document in the request")
	case len(upload.content) == 0:
		return nil, badRequest("file must be non-empty")
	case len(upload.content) > maxUpload:
		return nil, &failure{code: 413, description: "Request Entity Too Large"}
	case caption != "":
		if failure := checkText(a, caption, "caption_entities", maxCaption); failure != nil {
			return nil, failure
		}
	}
	m := &Message{Method: "sendDocument", Text: caption, Document: &Document{upload.name, upload.content}}
	return s.deliver(a, c, m)
}

// deliver checks where a message goes and puts it there.
func (s *Sim) deliver(a args, c *chat, m *Message) (any, *failure) {
	m.ChatID, m.TopicID = a.integer("chat_id"), a.integer("message_thread_id")
	if m.TopicID != 0 && !c.topics[m.TopicID] {
		return nil, badRequest("message thread not found")
	}
	var reply struct {
		MessageID int64 `json:"message_id"`
		AnyWay    bool  `json:"allow_sending_without_reply"`
	}
	if text, given := a.values["reply_parameters"]; given {
		if json.Unmarshal([]byte(text), &reply) != nil || reply.MessageID == 0 {
			return nil, badRequest("can't parse reply parameters JSON object")
		}
		switch {
		case c.has(reply.MessageID):
			m.ReplyTo = reply.MessageID
		case !reply.AnyWay:
			return nil, badRequest("message to be replied not found")
		}
	}
	c.lastID++
	m.MessageID, m.At, m.ReplyMarkup = c.lastID, time.Now(), jsonValue(a, "reply_markup")
	m.Silent = a.values["disable_notification"] == "true"
	c.sent[m.MessageID] = m
	s.messages = append(s.messages, m)
	m.Seq = len(s.messages)
	s.notify()
	return s.messageObject(m, c), nil
}

func (s *Sim) editMessageText(a args, c *chat) (any, *failure) {
	id, text := a.integer("message_id"), a.values["text"]
	m := c.sent[id]
	switch {
	case c.incoming[id]:
		return nil, badRequest("message can't be edited")
	case m == nil:
		return nil, badRequest("message to edit not found")
	case m.Document != nil:
		return nil, badRequest("there is no text in the message to edit")
	}
	if failure := checkText(a, text, "entities", maxText); failure != nil {
		return nil, failure
	}
	entities, markup := jsonValue(a, "entities"), jsonValue(a, "reply_markup")
	if trim(text) == trim(m.Text) && string(entities) == string(m.Entities) && string(markup) == string(m.ReplyMarkup) {
		return nil, badRequest("message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message")
	}
	m.Earlier = append(slices.Clip(m.Earlier), m.Text)
	m.Text, m.Entities, m.ReplyMarkup, m.EditedAt = text, entities, markup, time.Now()
	s.notify()
	return s.messageObject(m, c), nil
}

func (s *Sim) sendChatAction(a args, c *chat) (any, *failure) {
	switch a.values["action"] {
	case "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
		"upload_document", "choose_sticker", "find_location", "record_video_note", "upload_video_note":
	default:
		return nil, badRequest("wrong parameter action in request")
	}
	if topic := a.integer("message_thread_id"); topic != 0 && !c.topics[topic] {
		return nil, badRequest("message thread not found")
	}
	return true, nil
}

func (s *Sim) answerCallbackQuery(_ context.Context, a args) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, known := s.callbacks[a.values["callback_query_id"]]
	if !known || time.Since(made) > callbackLifetime {
		return nil, badRequest("query is too old and response timeout expired or query ID is invalid")
	}
	return true, nil
}

func (s *Sim) setMessageReaction(_ context.Context, a args) (any, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, id := s.chat(a.integer("chat_id")), a.integer("message_id")
	if !c.has(id) {
		return nil, badRequest("message to react not found")
	}
	var reactions []struct {
		Type  string `json:"type"`
		Emoji string `json:"emoji"`
	}
	if text := a.values["reaction"]; text != "" && json.Unmarshal([]byte(text), &reactions) != nil {
		return nil, badRequest("can't parse reaction types JSON object")
	}
	var emojis strings.Builder
	for _, r := range reactions {
		emojis.WriteString(r.Emoji)
	}
	c.reactions[id] = emojis.String()
	s.notify()
	return true, nil
}

// Reaction returns the bot's emoji on a message; empty: none.
func (s *Sim) Reaction(chatID, messageID int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chat(chatID).reactions[messageID]
}

// messageObject is the Message that Telegram answers with.
func (s *Sim) messageObject(m *Message, c *chat) map[string]any {
	object := map[string]any{
		"message_id": m.MessageID, "date": m.At.Unix(), "chat": chatObject(m.ChatID, c.kind),
		"from": userObject(s.botID, s.username, "Telecodex", true),
	}
	if m.Document != nil {
		object["document"] = map[string]any{"file_id": "file", "file_unique_id": "file", "file_name": m.Document.Name, "file_size": len(m.Document.Content)}
		if m.Text != "" {
			object["caption"] = trim(m.Text)
		}
	} else {
		object["text"] = trim(m.Text)
	}
	if m.TopicID != 0 {
		object["message_thread_id"], object["is_topic_message"] = m.TopicID, true
	}
	if m.ReplyTo != 0 {
		object["reply_to_message"] = map[string]any{"message_id": m.ReplyTo, "date": 0, "chat": chatObject(m.ChatID, c.kind)}
	}
	return object
}

func jsonValue(a args, name string) json.RawMessage {
	if text := a.values[name]; json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return nil
}
