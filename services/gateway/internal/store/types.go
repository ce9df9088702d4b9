package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// Bot names the bot whose updates are stored.
type Bot struct {
	// ID is the bot's Telegram user id, from getMe.
	ID int64
	// Username is without "@".
	Username string
	// Fingerprint stands for the token: the hex digits of the first 8 bytes of
	// its SHA-256, see Fingerprint.
	Fingerprint string
}

// Key names an update of a bot for ever: update ids start again at random after
// a week of silence, so that an id alone names nothing.
type Key struct {
	Generation int64 // 1 for the first
	UpdateID   int64
}

func (k Key) String() string {
	return fmt.Sprintf("update %d of generation %d", k.UpdateID, k.Generation)
}

// State is where an update or a turn is in its life.
type State string

// States of an update. A turn has those from Queued to Interrupted.
const (
	Queued      State = "QUEUED"      // committed, waits for its lane
	Assigned    State = "ASSIGNED"    // a worker was chosen; RunTurn may have been sent
	Accepted    State = "ACCEPTED"    // the worker has journaled the turn
	Finished    State = "FINISHED"    // the outcome and its messages are committed
	Delivered   State = "DELIVERED"   // no message of it waits any more
	Interrupted State = "INTERRUPTED" // it may have partly run; a person decides
	Dropped     State = "DROPPED"     // refused: allowlist, stale, or a person's decision
	Skipped     State = "SKIPPED"     // not understood; Reason says why
)

// Kind is what an update asks for; empty for one that asks for nothing.
type Kind string

// Kinds of updates. Prompt and New wait in their session's lane; the others are
// handled at once.
const (
	KindPrompt  Kind = "prompt"
	KindNew     Kind = "new"
	KindCancel  Kind = "cancel"
	KindStatus  Kind = "status"
	KindHelp    Kind = "help"
	KindResolve Kind = "resolve"
	KindEcho    Kind = "echo"
)

// NewUpdate is an update on its way into the store.
type NewUpdate struct {
	UpdateID int64
	Kind     Kind
	State    State // Queued, Dropped or Skipped
	Reason   string
	// Digest recognizes the same message when Telegram sends it again.
	Digest    string
	SessionID string
	ChatID    int64
	TopicID   int64 // 0 outside of topics
	MessageID int64
	FromID    int64
	Private   bool // a chat of one person with the bot
	// Text is the prompt, what follows a command's name, or for KindResolve the
	// choice: resume, again or drop.
	Text string
	// TurnID is the turn a KindResolve update decides about; empty: the newest
	// interrupted one of its session. The store writes that of a KindCancel update.
	TurnID string
	// CallbackID is the callback query to answer; empty for messages.
	CallbackID string
	// Date is when the message was sent, by Telegram's clock; zero when the
	// update does not say.
	Date time.Time
}

// Update is a stored update.
type Update struct {
	Key
	Kind       Kind
	State      State
	Reason     string
	Digest     string
	SessionID  string
	ChatID     int64
	TopicID    int64
	MessageID  int64
	FromID     int64
	Private    bool
	Text       string
	TurnID     string
	CallbackID string
	Date       time.Time
	ReceivedAt time.Time
	SettledAt  time.Time // zero while it is not settled
}

// Cursor is how far a bot's updates are committed.
type Cursor struct {
	Generation int64
	// NextOffset is what getUpdates is asked for next; 0: from the beginning.
	NextOffset int64
	// CommittedAt is when NextOffset was last moved; zero: never.
	CommittedAt time.Time
}

// Ingested is what became of a batch of updates.
type Ingested struct {
	New        []Update    // stored now, whatever their state, in the order of the batch
	Duplicates []int64     // update ids that were stored before with the same message
	Stale      []NewUpdate // below the committed floor, and older than it
	Cursor     Cursor
}

// Usage counts tokens.
type Usage struct {
	InputTokens           int64
	CachedInputTokens     int64
	CacheWriteInputTokens int64
	OutputTokens          int64
	ReasoningOutputTokens int64
}

// Turn is one attempt to do what an update asks for.
type Turn struct {
	ID        string // "{bot}-{generation}-{update}-{attempt}"
	Key       Key
	Attempt   int // 1 for the first
	SessionID string
	ChatID    int64
	TopicID   int64
	MessageID int64
	Private   bool
	Kind      Kind // KindPrompt or KindNew
	Prompt    string
	State     State
	ThreadID  string // the Codex thread; empty until Codex named it
	WorkerID  string // empty until one was chosen
	JournalID string // empty until the worker said it
	// WorkingDir is what the worker is asked for, and is asked for again, whatever
	// is configured then; empty: the session's own directory.
	WorkingDir string
	// Outcome, ErrorCode and ErrorMessage are empty while the turn is open.
	Outcome      string
	ErrorCode    string
	ErrorMessage string
	// Usage is this turn's alone.
	Usage        Usage
	Resolution   string    // resume, again or drop, once a person has decided
	Acknowledged bool      // its worker was told, or has nothing of it
	ReceivedAt   time.Time // of its update
	CreatedAt    time.Time
	AssignedAt   time.Time
	AcceptedAt   time.Time
	EndedAt      time.Time
}

// Outcome is how a turn ended.
type Outcome struct {
	// Name is succeeded, failed, cancelled or interrupted.
	Name         string
	ErrorCode    string
	ErrorMessage string
	// Usage is the thread's so far, as Codex reports it; nil: not reported.
	Usage *Usage
	// Absent says that the turn's worker has nothing of it: what may have its id
	// there is another turn. Nothing is to be acknowledged.
	Absent bool
}

// Session is one conversation.
type Session struct {
	ID        string
	ChatID    int64
	TopicID   int64
	ThreadID  string // empty before the first turn and after /new
	WorkerID  string // the worker that holds the thread
	JournalID string
	Usage     Usage // of the whole thread
	OpenTurns int   // turns that wait or run
	UpdatedAt time.Time
	// The worker it was last taken from, why and when; only of ListSessions.
	MovedFrom, MovedReason string
	MovedAt                time.Time
}

// Lane is what a session's lane goes on from, as of one moment.
type Lane struct {
	// Found says that there is work; without, the rest is empty.
	Found bool
	// Turn is what runs, or else the oldest work of the lane: a prompt or a
	// request for a new thread, as its newest attempt.
	Turn Turn
	// Session is the turn's; its open turns are not counted.
	Session Session
	// HeldSince is when the newest interrupted turn ended that holds the waiting
	// turn back; zero: none does.
	HeldSince time.Time
	// Fresh says that the waiting turn begins a new thread, though its session
	// still has one: the attempt before could not resume it.
	Fresh bool
}

// Kinds of messages.
const (
	Answer   = "answer"   // what Codex said; counted as sent
	Notice   = "notice"   // what happened to a turn
	Question = "question" // what to do with an interrupted turn
	Reply    = "reply"    // to a command
)

// Message is something to be said to a chat.
type Message struct {
	Kind     string // Answer, Notice, Question or Reply
	Text     string
	Document *Document
	ReplyTo  int64 // message id; 0: none
	Markup   json.RawMessage
}

// Document is a file of a message; the message's text is its caption.
type Document struct {
	Name    string
	Content []byte
}

// SendState is where a message of the outbox is.
type SendState string

// States of a message.
const (
	Pending SendState = "PENDING"
	Sending SendState = "SENDING" // the call was made, or was about to be
	Sent    SendState = "SENT"
	Dead    SendState = "DEAD" // refused for good
)

// Outgoing is a message in the outbox. A chat's messages are sent in the order
// of their ids.
type Outgoing struct {
	ID      int64
	Key     Key
	TurnID  string // empty for a command's reply
	ChatID  int64
	TopicID int64
	Group   bool // not a private chat
	Message
	State         SendState
	Attempts      int       // calls made so far
	Doubts        int       // of those, calls that may have been carried out without an answer
	NotBefore     time.Time // zero: at once
	SentMessageID int64     // Telegram's id of the sent message
	Reason        string    // why it waits or is dead
	CreatedAt     time.Time
	DoneAt        time.Time // zero while it is Pending or Sending
}

// SentResult is what the end of a message means to its update.
type SentResult struct {
	Key     Key
	TurnID  string
	Settled bool // the update was settled by it: nothing of it waits any more
	// ReceivedAt is when the update was received, once Settled.
	ReceivedAt time.Time
	// Answered says, once Settled, that the update has answers and that all of
	// them were sent.
	Answered bool
	// DeadLetters is how many messages of the update were refused for good.
	DeadLetters int
	// Outcome is that of the update's newest turn, without its usage; empty for a
	// command.
	Outcome Outcome
	// Next is the message that its chat gets next, if there is More.
	Next Outgoing
	More bool
}

// Resolved is the decision that holds about an interrupted turn.
type Resolved struct {
	Choice  string // resume, again or drop
	Applied bool   // this call decided; otherwise an earlier one had
	Next    *Turn  // the attempt that goes on; nil for drop
}

// Stats counts what waits.
type Stats struct {
	Queued      int // lane work that waits
	Running     int // turns with a worker
	Interrupted int // turns that wait for a person
	Outbox      int // messages that are not sent yet
	Cursor      Cursor
}

// Trace is the way of one update.
type Trace struct {
	Update Update
	Turns  []Turn     // by attempt
	Outbox []Outgoing // in the order of sending, without texts and documents
}
