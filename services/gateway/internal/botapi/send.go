package botapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"strconv"
	"time"
)

// Message is a message that was sent (Message).
type Message struct {
	// ID is the message_id, unique within its chat.
	ID int64
}

// Entity marks a part of a text (MessageEntity).
type Entity struct {
	// Type is "bold", "pre", "text_link" and so on.
	Type string `json:"type"`
	// Offset and Length count UTF-16 units.
	Offset int `json:"offset"`
	Length int `json:"length"`
	// URL is for "text_link" only.
	URL string `json:"url,omitempty"`
	// Language is for "pre" only.
	Language string `json:"language,omitempty"`
}

// SendMessage are the parameters of sendMessage.
type SendMessage struct {
	ChatID int64
	// TopicID is the message_thread_id of the topic to send to; 0: none.
	TopicID int64
	// Text is 1–4096 UTF-16 units.
	Text     string
	Entities []Entity
	// ReplyTo is the message to reply to; 0: none. If it is gone, the message is
	// sent all the same.
	ReplyTo             int64
	DisableLinkPreview  bool
	DisableNotification bool
	// ReplyMarkup is a JSON object such as InlineKeyboardMarkup; nil: none.
	ReplyMarkup json.RawMessage
}

// EditMessageText are the parameters of editMessageText.
type EditMessageText struct {
	ChatID, MessageID int64
	// Text is 1–4096 UTF-16 units.
	Text               string
	Entities           []Entity
	DisableLinkPreview bool
	// ReplyMarkup replaces the message's; nil: it is taken away.
	ReplyMarkup json.RawMessage
}

// SendDocument are the parameters of sendDocument.
type SendDocument struct {
	ChatID int64
	// TopicID is the message_thread_id of the topic to send to; 0: none.
	TopicID int64
	// ReplyTo is the message to reply to; 0: none. If it is gone, the document is
	// sent all the same.
	ReplyTo  int64
	FileName string
	// Content is at most 50 MB.
	Content []byte
	// Caption is at most 1024 UTF-16 units; empty: none.
	Caption string
}

type replyParameters struct {
	MessageID int64 `json:"message_id"`
	AnyWay    bool  `json:"allow_sending_without_reply"`
}

func replyTo(messageID int64) *replyParameters {
	if messageID == 0 {
		return nil
	}
	return &replyParameters{messageID, true}
}

type linkPreviewOptions struct {
	Disabled bool `json:"is_disabled"`
}

func linkPreview(disabled bool) *linkPreviewOptions {
	if !disabled {
		return nil
	}
	return &linkPreviewOptions{true}
}

// SendMessage sends a text (sendMessage). It is never tried twice: Telegram has
// no idempotency key, so a failure that is InDoubt is the caller's to judge.
func (c *Client) SendMessage(ctx context.Context, p SendMessage) (Message, error) {
	result, err := c.send(ctx, "sendMessage", struct {
		ChatID      int64               `json:"chat_id"`
		TopicID     int64               `json:"message_thread_id,omitempty"`
		Text        string              `json:"text"`
		Entities    []Entity            `json:"entities,omitempty"`
		Reply       *replyParameters    `json:"reply_parameters,omitempty"`
		LinkPreview *linkPreviewOptions `json:"link_preview_options,omitempty"`
		Silent      bool                `json:"disable_notification,omitempty"`
		Markup      json.RawMessage     `json:"reply_markup,omitempty"`
	}{p.ChatID, p.TopicID, p.Text, p.Entities, replyTo(p.ReplyTo), linkPreview(p.DisableLinkPreview), p.DisableNotification, p.ReplyMarkup})
	return sentMessage("sendMessage", result, err)
}

func sentMessage(operation string, result json.RawMessage, err error) (Message, error) {
	if err != nil {
		return Message{}, err
	}
	message, _ := value[struct {
		ID int64 `json:"message_id"`
	}](result)
	if message.ID == 0 {
		return Message{}, invalidResult(operation, "no message_id")
	}
	return Message{ID: message.ID}, nil
}

// EditMessageText replaces the text of one of the bot's messages
// (editMessageText). A message that says so already is a success.
func (c *Client) EditMessageText(ctx context.Context, p EditMessageText) error {
	_, err := c.send(ctx, "editMessageText", struct {
		ChatID      int64               `json:"chat_id"`
		MessageID   int64               `json:"message_id"`
		Text        string              `json:"text"`
		Entities    []Entity            `json:"entities,omitempty"`
		LinkPreview *linkPreviewOptions `json:"link_preview_options,omitempty"`
		Markup      json.RawMessage     `json:"reply_markup,omitempty"`
	}{p.ChatID, p.MessageID, p.Text, p.Entities, linkPreview(p.DisableLinkPreview), p.ReplyMarkup})
	if failure, ok := err.(*Error); ok && failure.notModified() {
		return nil
	}
	return err
}

// SendDocument uploads a file (sendDocument), once, as SendMessage does.
func (c *Client) SendDocument(ctx context.Context, p SendDocument) (Message, error) {
	const operation = "sendDocument"
	body, err := documentBody(p)
	if err != nil {
		return Message{}, &Error{Operation: operation, Kind: KindInvalidJSON, Retry: RetryNever, detail: "the parameters cannot be encoded"}
	}
	timeout := c.requestTimeout + time.Duration(len(p.Content)/slowestUpload)*time.Second
	result, failure := c.try(ctx, call{operation, body, timeout, c.calls, maxCallBody})
	if failure != nil {
		return Message{}, failure
	}
	return sentMessage(operation, result, nil)
}

// documentBody encodes a sendDocument call as multipart/form-data. The content
// is not copied: it may be megabytes.
func documentBody(p SendDocument) (payload, error) {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	fields := []struct{ name, value string }{{"chat_id", strconv.FormatInt(p.ChatID, 10)}}
	if p.TopicID != 0 {
		fields = append(fields, struct{ name, value string }{"message_thread_id", strconv.FormatInt(p.TopicID, 10)})
	}
	if p.Caption != "" {
		fields = append(fields, struct{ name, value string }{"caption", p.Caption})
	}
	if reply := replyTo(p.ReplyTo); reply != nil {
		data, err := marshal(reply)
		if err != nil {
			return payload{}, err
		}
		fields = append(fields, struct{ name, value string }{"reply_parameters", string(data)})
	}
	for _, f := range fields {
		if err := form.WriteField(f.name, f.value); err != nil {
			return payload{}, err
		}
	}
	if _, err := form.CreateFormFile("document", p.FileName); err != nil {
		return payload{}, err
	}
	start := bytes.Clone(head.Bytes())
	head.Reset()
	if err := form.Close(); err != nil {
		return payload{}, err
	}
	end := head.Bytes()
	return payload{
		contentType: form.FormDataContentType(),
		length:      int64(len(start) + len(p.Content) + len(end)),
		open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(start), bytes.NewReader(p.Content), bytes.NewReader(end))
		},
	}, nil
}

// SendChatAction shows for five seconds that the bot does something, such as
// "typing" (sendChatAction). topicID 0: none.
func (c *Client) SendChatAction(ctx context.Context, chatID, topicID int64, action string) error {
	_, err := c.send(ctx, "sendChatAction", struct {
		ChatID  int64  `json:"chat_id"`
		TopicID int64  `json:"message_thread_id,omitempty"`
		Action  string `json:"action"`
	}{chatID, topicID, action})
	return err
}

// AnswerCallbackQuery ends the wait of a pressed button, with an optional note
// of at most 200 characters (answerCallbackQuery).
func (c *Client) AnswerCallbackQuery(ctx context.Context, callbackID, text string) error {
	_, err := c.send(ctx, "answerCallbackQuery", struct {
		ID   string `json:"callback_query_id"`
		Text string `json:"text,omitempty"`
	}{callbackID, text})
	return err
}

// SetMessageReaction puts one emoji of Telegram's list on a message, or takes
// the bot's away when emoji is empty (setMessageReaction).
func (c *Client) SetMessageReaction(ctx context.Context, chatID, messageID int64, emoji string) error {
	type reaction struct {
		Type  string `json:"type"`
		Emoji string `json:"emoji"`
	}
	reactions := []reaction{}
	if emoji != "" {
		reactions = append(reactions, reaction{"emoji", emoji})
	}
	_, err := c.send(ctx, "setMessageReaction", struct {
		ChatID    int64      `json:"chat_id"`
		MessageID int64      `json:"message_id"`
		Reaction  []reaction `json:"reaction"`
	}{chatID, messageID, reactions})
	return err
}

// DeleteWebhook gives the updates back to getUpdates and keeps those that wait
// (deleteWebhook).
func (c *Client) DeleteWebhook(ctx context.Context) error {
	_, err := c.send(ctx, "deleteWebhook", struct {
		DropPending bool `json:"drop_pending_updates"`
	}{false})
	return err
}
