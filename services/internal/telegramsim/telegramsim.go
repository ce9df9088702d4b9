// Package telegramsim is a Telegram Bot API server for one bot, without
// Telegram: a real HTTP server that a gateway polls and sends to, and a control
// API (under /control/, and as Go methods) through which a test or a person
// plays the people in the chats, looks at what was sent, and makes calls fail.
//
// It keeps to what Telegram does where a bot can get it wrong: confirmation by
// offset and redelivery, long polls that a newer poll ends with 409, limits of
// length and rate, entities in UTF-16 units, edits that change nothing,
// restarted update ids. It is strict where Telegram is merely forgiving.
package telegramsim

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultToken is the bot token when Options names none.
const DefaultToken = "1000000:TEST-TOKEN"

const (
	defaultUsername      = "telecodex_bot"
	defaultFirstUpdateID = 100_000_001
)

// Options says what bot is simulated. The zero value will do.
type Options struct {
	// Token is the bot token; the digits before ":" are the bot's user id.
	// Empty: DefaultToken.
	Token string
	// BotUsername is without "@"; empty: "telecodex_bot".
	BotUsername string
	// FirstUpdateID is the id of the first update; 0: 100000001.
	FirstUpdateID int64
	// Limits bound what the bot may send; the zero value bounds nothing.
	Limits Limits
	// ThrottleRepolls makes a poll that repeats its offset within three seconds
	// wait, as Telegram does.
	ThrottleRepolls bool
	// OnCall is told every Bot API call once it is answered, from the goroutine
	// that answers it.
	OnCall func(Call)
}

// Sim is the simulator: an http.Handler with a memory. It is safe for
// concurrent use.
type Sim struct {
	token    string
	botID    int64
	username string
	onCall   func(Call)
	throttle bool
	methods  map[string]method
	control  http.Handler
	closing  chan struct{}

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever something happened
	closed    bool
	queue     queue
	chats     map[int64]*chat
	callbacks map[string]time.Time // when each unanswered callback query was made
	messages  []*Message
	calls     []*Call
	faults    []*Fault
	limiter   limiter

	misconduct misconduct
}

// chat is what the simulator knows of a chat.
type chat struct {
	kind      string // "private", "group", "supergroup" or "channel"
	lastID    int64
	incoming  map[int64]bool
	sent      map[int64]*Message
	topics    map[int64]bool
	reactions map[int64]string
}

// method answers one Bot API method.
type method func(ctx context.Context, a args) (result any, failure *failure)

// New returns a simulator. Close ends what waits in it.
func New(o Options) *Sim {
	token := cmp.Or(o.Token, DefaultToken)
	digits, _, _ := strings.Cut(token, ":")
	botID, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || botID <= 0 {
		botID = 1_000_000
	}
	s := &Sim{
		token:     token,
		botID:     botID,
		username:  cmp.Or(o.BotUsername, defaultUsername),
		onCall:    o.OnCall,
		throttle:  o.ThrottleRepolls,
		closing:   make(chan struct{}),
		changed:   make(chan struct{}),
		queue:     queue{nextID: cmp.Or(o.FirstUpdateID, defaultFirstUpdateID)},
		chats:     map[int64]*chat{},
		callbacks: map[string]time.Time{},
		limiter:   limiter{limits: o.Limits},
	}
	s.methods = s.botMethods()
	s.control = s.controlHandler()
	return s
}

// Close answers the polls and waits that are open. Calls after it fail with 500.
func (s *Sim) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		s.notify()
	}
}

// notify wakes everyone who waits for a change. s.mu is held.
func (s *Sim) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// errClosed is what a wait ends with when the simulator is closed.
var errClosed = errors.New("telegramsim: closed")

// await waits until met, which is called with s.mu held, returns true.
func (s *Sim) await(ctx context.Context, met func() bool) error {
	for {
		s.mu.Lock()
		done, closed, changed := met(), s.closed, s.changed
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return errClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Sim) chat(id int64) *chat {
	c := s.chats[id]
	if c == nil {
		c = &chat{
			kind: "private", incoming: map[int64]bool{}, sent: map[int64]*Message{},
			topics: map[int64]bool{}, reactions: map[int64]string{},
		}
		if id < 0 {
			c.kind = "supergroup"
		}
		s.chats[id] = c
	}
	return c
}

func (c *chat) has(messageID int64) bool {
	return c.incoming[messageID] || c.sent[messageID] != nil
}

// Server is a simulator on a listener of its own.
type Server struct {
	*Sim
	// URL is the base URL of the Bot API, such as "http://127.0.0.1:8081".
	URL string

	server *http.Server
	done   chan error
}

// Start serves a new simulator at a TCP address; port 0 picks a free one. The
// caller closes it.
func Start(address string, o Options) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	sim := New(o)
	s := &Server{
		Sim:    sim,
		URL:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second},
		done:   make(chan error, 1),
	}
	go func() { s.done <- s.server.Serve(listener) }()
	return s, nil
}

// Close ends the simulator and its server.
func (s *Server) Close() error {
	s.Sim.Close()
	grace, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(grace) != nil {
		s.server.Close()
	}
	if err := <-s.done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
