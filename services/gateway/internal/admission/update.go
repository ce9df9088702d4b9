// Package admission decides about every update before anything is done with it:
// what it is, whether it is well formed, and whether its chat may use the bot.
// It is pure, so that the rules that keep strangers out can be read and tested
// on their own: what it does not recognize is skipped with a reason, and what is
// not allowed explicitly is dropped.
package admission

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what kind of update it is.
type Kind int

// Kinds of updates.
const (
	Other    Kind = iota // a type the gateway has no use for
	Message              // a new message (Message)
	Callback             // a pressed button (CallbackQuery)
)

// Update is an update as far as the gateway reads it.
type Update struct {
	ID           int64
	Kind         Kind
	ChatID       int64
	ChatType     string // private, group, supergroup or channel
	TopicID      int64  // message_thread_id of a message in a topic; 0: none
	MessageID    int64
	FromID       int64
	FromBot      bool
	Date         time.Time // when a message was sent; zero: the update does not say
	Text         string    // of a message
	Command      string    // "new" of "/new@bot args": lower case, without the rest; empty: none
	CommandBot   string    // "bot" of the same
	Args         string    // "args" of the same
	CallbackID   string
	CallbackData string
	// MigratedTo is the supergroup that the chat, a group, has become;
	// MigratedFrom the group that the chat, a supergroup, was before. 0: the message
	// does not say. Both are Telegram's word, in messages of its own.
	MigratedTo   int64
	MigratedFrom int64
	// Origin is for the caller to set: the group whose place the chat is known to
	// have taken; 0: none.
	Origin int64
	// Digest recognizes the same message when Telegram sends it again: hex digits
	// of a SHA-256 over chat, message id, sender, date and text, or over what else
	// makes an update of another kind unique.
	Digest string

	unfit string // why it cannot be handled; empty: it can
}

// Private says whether the chat is one person's with the bot.
func (u Update) Private() bool { return u.ChatType == "private" }

// Reasons of a ShapeError and of skipped updates: a closed list, for no part of
// an update may end in a log.
const (
	reasonNotObject   = "the update is not a JSON object"
	reasonNoID        = "the update has no usable update_id"
	reasonShape       = "the update is not of the shape its type requires"
	reasonUnsupported = "the type of update is not supported"
	reasonNoSender    = "the message has no sender"
	reasonBot         = "the sender is a bot"
	reasonForward     = "the message was forwarded automatically"
	reasonNoText      = "the message has no text"
	reasonAttachment  = "attachments are not supported"
	reasonOtherBot    = "the command is for another bot"
	reasonNoChat      = "the button does not belong to a message of a chat"
	reasonButton      = "the button is not known"
)

// ShapeError says that an update is not what the Bot API promises.
type ShapeError struct{ Reason string }

func (e *ShapeError) Error() string { return e.Reason }

type wireUser struct {
	ID    int64 `json:"id"`
	IsBot bool  `json:"is_bot"`
}

type wireMessage struct {
	MessageID *int64 `json:"message_id"`
	Chat      *struct {
		ID   *int64 `json:"id"`
		Type string `json:"type"`
	} `json:"chat"`
	From               *wireUser `json:"from"`
	Date               int64     `json:"date"`
	Text               *string   `json:"text"`
	ThreadID           int64     `json:"message_thread_id"`
	IsTopicMessage     bool      `json:"is_topic_message"`
	IsAutomaticForward bool      `json:"is_automatic_forward"`
	MigrateTo          int64     `json:"migrate_to_chat_id"`
	MigrateFrom        int64     `json:"migrate_from_chat_id"`
}

type wireCallback struct {
	ID      string          `json:"id"`
	From    *wireUser       `json:"from"`
	Message json.RawMessage `json:"message"`
	Data    string          `json:"data"`
}

// maxUpdateID leaves room for the offset that confirms it.
const maxUpdateID = 1<<53 - 2

// attachments are the fields of Message that hold something other than text
// which a person has sent on purpose.
var attachments = [...]string{"animation", "audio", "caption", "checklist", "contact", "dice", "document", "game", "location",
	"paid_media", "photo", "poll", "sticker", "story", "venue", "video", "video_note", "voice"}

// Parse reads an update. When it fails, with a *ShapeError, the update it
// returns has its id, where there is one, and a digest: enough to move past it.
func Parse(raw []byte) (Update, error) {
	u := Update{Digest: digest("raw", string(raw))}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return u, &ShapeError{Reason: reasonNotObject}
	}
	id, err := strconv.ParseInt(string(fields["update_id"]), 10, 64)
	if err != nil || id < 0 || id > maxUpdateID {
		return u, &ShapeError{Reason: reasonNoID}
	}
	u.ID = id
	var read func(*Update, json.RawMessage) bool
	body, ok := fields["message"]
	switch read = readMessage; {
	case ok:
	case fields["callback_query"] != nil:
		body, read = fields["callback_query"], readCallback
	default:
		u.unfit = reasonUnsupported
		return u, nil
	}
	whole := u
	if !read(&whole, body) {
		return u, &ShapeError{Reason: reasonShape}
	}
	return whole, nil
}

func readMessage(u *Update, body json.RawMessage) bool {
	var m wireMessage
	if json.Unmarshal(body, &m) != nil || !u.place(m) || m.Date <= 0 {
		return false
	}
	u.Kind, u.Date, u.MigratedTo, u.MigratedFrom = Message, time.Unix(m.Date, 0).UTC(), m.MigrateTo, m.MigrateFrom
	if m.Text != nil {
		u.Text = *m.Text
		u.Command, u.CommandBot, u.Args = splitCommand(u.Text)
	}
	u.sender(m.From)
	u.Digest = digest("message", strconv.FormatInt(u.ChatID, 10), strconv.FormatInt(u.MessageID, 10),
		strconv.FormatInt(u.FromID, 10), strconv.FormatInt(m.Date, 10), u.Text)
	switch {
	case u.unfit != "":
	case m.IsAutomaticForward:
		u.unfit = reasonForward
	case strings.TrimSpace(strings.ReplaceAll(u.Text, "\x00", "")) == "":
		u.unfit = reasonNoText
		if hasAttachment(body) {
			u.unfit = reasonAttachment
		}
	}
	return true
}

func hasAttachment(body json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return false
	}
	for _, name := range attachments {
		if fields[name] != nil {
			return true
		}
	}
	return false
}

func readCallback(u *Update, body json.RawMessage) bool {
	var c wireCallback
	if json.Unmarshal(body, &c) != nil || c.ID == "" || c.From == nil {
		return false
	}
	u.Kind, u.CallbackID, u.CallbackData = Callback, c.ID, c.Data
	u.sender(c.From)
	u.Digest = digest("callback", c.ID)
	if len(c.Message) == 0 || string(c.Message) == "null" {
		// The button of an inline message: it has no chat to answer in.
		u.unfit = reasonNoChat
		return true
	}
	var m wireMessage
	return json.Unmarshal(c.Message, &m) == nil && u.place(m)
}

// place notes where a message stands.
func (u *Update) place(m wireMessage) bool {
	if m.MessageID == nil || m.Chat == nil || m.Chat.ID == nil || *m.Chat.ID == 0 || m.Chat.Type == "" {
		return false
	}
	u.ChatID, u.ChatType, u.MessageID = *m.Chat.ID, m.Chat.Type, *m.MessageID
	if m.IsTopicMessage {
		u.TopicID = m.ThreadID
	}
	return true
}

func (u *Update) sender(from *wireUser) {
	switch {
	case from == nil || from.ID == 0:
		u.unfit = reasonNoSender
	case from.IsBot:
		u.FromID, u.FromBot, u.unfit = from.ID, true, reasonBot
	default:
		u.FromID = from.ID
	}
}

// digest hashes fields so that no two lists of fields run into each other.
func digest(fields ...string) string {
	h := sha256.New()
	for _, f := range fields {
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// SessionID names the conversation of a chat or of one topic of it.
func SessionID(chatID, topicID int64) string {
	id := "telegram:" + strconv.FormatInt(chatID, 10)
	if topicID != 0 {
		id += ":" + strconv.FormatInt(topicID, 10)
	}
	return id
}
