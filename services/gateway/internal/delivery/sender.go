package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/tracing"
)

// Config is what a Sender works with.
type Config struct {
	Store   *store.Store
	Bot     *botapi.Client
	Reports *cycle.Tracker
	Budget  *Budget
	// OnSuccess: an answer that a chat refuses is tried again, less and less often.
	// Otherwise it is given up.
	OnSuccess bool
	// Once: a message that cannot be sent in a few tries is left in the outbox.
	Once bool
	// Patience is how long sending may fail before it is reported; 0: 10 s.
	Patience time.Duration
	Meter    *meters.Meter
	Trace    *tracing.Tracer
	Log      *zap.Logger
}

// Sender empties the outbox: one goroutine for each chat that messages wait for,
// in their order.
type Sender struct {
	Config

	mu         sync.Mutex
	group      *lifecycle.Group // of Run; nil before and once it ends
	recovered  bool             // what the outbox holds was taken up
	chats      map[int64]*chat
	wanted     map[int64]bool
	noTopic    map[topic]bool // topics that are gone
	typing     map[int64]bool // chat actions under way
	forgotten  map[int64]bool // chats to be forgotten once nothing waits for them
	amendments amendments
	changed    chan struct{} // closed at each change
}

type topic struct{ chat, topic int64 }

// NewSender returns a sender. It sends nothing before Run.
func NewSender(config Config) *Sender {
	if config.Patience == 0 {
		config.Patience = 10 * time.Second
	}
	return &Sender{Config: config, chats: map[int64]*chat{}, wanted: map[int64]bool{},
		noTopic: map[topic]bool{}, typing: map[int64]bool{},
		forgotten: map[int64]bool{}, changed: make(chan struct{})}
}

// Run sends what waits in the outbox and what is added, until the context ends or
// the store is lost to another gateway. A call under way at the end may take a
// few seconds more.
func (s *Sender) Run(ctx context.Context) error {
	switch err := s.recover(ctx); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	group := lifecycle.NewGroup(ctx)
	s.change(func() { s.group = group })
	group.Go(s.amend)
	group.Go(func(ctx context.Context) error {
		s.start(ctx)
		s.change(func() { s.group = nil }) // nothing is added that Wait would not see
		return nil
	})
	return group.Wait()
}

// recover takes up what an earlier gateway left.
func (s *Sender) recover(ctx context.Context) error {
	inDoubt, err := s.Store.RecoverOutbox(ctx)
	if err != nil {
		return err
	}
	crashpoint.Here(crashpoint.Doubted)
	details := make([]cycle.Detail, 0, len(inDoubt))
	for _, o := range inDoubt {
		details = append(details, s.doubt(o))
	}
	s.Reports.Unreported(details) // their own cycles ended with the other process
	blocked, err := s.Store.BlockedChats(ctx)
	if err != nil {
		return err
	}
	chats, err := s.Store.PendingChats(ctx)
	if err != nil {
		return err
	}
	for id, until := range blocked {
		s.Budget.Hold(id, until)
	}
	s.change(func() {
		s.recovered, s.amendments.wanted = true, true
		for _, id := range chats {
			s.wanted[id] = true
		}
	})
	return nil
}

// Wake says that messages wait for a chat. It never blocks, and may be called
// before Run.
func (s *Sender) Wake(chatID int64) { s.change(func() { s.wanted[s.Store.ChatNow(chatID)] = true }) }

// Quiet waits until nothing is left that can be sent now.
func (s *Sender) Quiet(ctx context.Context) error {
	return s.await(ctx, func() bool {
		return s.recovered && len(s.chats) == 0 && len(s.wanted) == 0 && s.amendments == amendments{}
	})
}

func (s *Sender) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until cond, which is called with mu held, is true.
func (s *Sender) await(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (s *Sender) start(ctx context.Context) {
	for s.await(ctx, func() bool { return len(s.wanted) > 0 }) == nil {
		s.change(func() {
			for id := range s.wanted {
				if c := s.chats[id]; c != nil {
					c.woken = true
					continue
				}
				c := &chat{Sender: s, id: id, spent: map[store.Key]time.Duration{}}
				s.chats[id] = c
				s.group.Go(c.run)
			}
			clear(s.wanted)
		})
	}
}

// cosmeticLimit bounds a call that nothing depends on.
const cosmeticLimit = 4 * time.Second

// Typing shows in a chat that its turn runs, where the budget has room to spare:
// it never delays a message, and a chat that waits for one is left alone. It does
// not block.
func (s *Sender) Typing(chatID, topicID int64, group bool) {
	chatID = s.Store.ChatNow(chatID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group == nil || s.typing[chatID] || s.chats[chatID] != nil || !s.Budget.Try(chatID, group) {
		return
	}
	s.typing[chatID] = true
	topicID = s.topicOf(chatID, topicID)
	s.group.Go(func(ctx context.Context) error {
		defer s.change(func() { delete(s.typing, chatID) })
		ctx, cancel := context.WithTimeout(ctx, cosmeticLimit)
		defer cancel()
		err := s.Bot.SendChatAction(ctx, chatID, topicID, "typing")
		if failure := (*botapi.Error)(nil); errors.As(err, &failure) && failure.RetryAfter > 0 {
			return s.block(ctx, chatID, failure.RetryAfter)
		}
		return nil
	})
}

// pressLimit bounds Pressed: a person does not look at a button for longer.
const pressLimit = 10 * time.Second

// Pressed ends the wait of a pressed button. Errors: *botapi.Error, of a press that
// is too old above all.
func (s *Sender) Pressed(ctx context.Context, callbackID, text string) error {
	ctx, cancel := context.WithTimeout(ctx, pressLimit)
	defer cancel()
	err := s.Bot.AnswerCallbackQuery(ctx, callbackID, text)
	if err != nil {
		s.Log.Info("button press not answered", zap.Error(err))
	}
	return err
}

// topicOf is the topic of a chat that is meant now: none, where it is gone; the
// caller holds mu.
func (s *Sender) topicOf(chatID, topicID int64) int64 {
	if s.noTopic[topic{chatID, topicID}] {
		return 0
	}
	return topicID
}

// block holds back everything for a chat, in the store too: how long Telegram has
// asked to wait is to be known after a restart.
func (s *Sender) block(ctx context.Context, chatID int64, wait time.Duration) error {
	until := time.Now().Add(wait)
	s.Budget.Hold(chatID, until)
	s.Log.Info("chat has to wait", zap.Int64("chat", chatID), zap.Duration("retry_after", wait))
	return fatal(s.persist(ctx, chatID, func(ctx context.Context) error { return s.Store.BlockChat(ctx, chatID, until) }))
}

// persist writes what became of a call, and tries again while the store cannot:
// a message that stays marked as being sent would hold up its chat.
func (s *Sender) persist(ctx context.Context, chatID int64, write func(context.Context) error) error {
	for pause := firstBackoff; ; pause = min(2*pause, lastBackoff) {
		err := outlasting(ctx, write)
		state := (*store.StateError)(nil)
		if err == nil || fatal(err) != nil || errors.As(err, &state) || s.Once || ctx.Err() != nil {
			return err
		}
		s.Log.Error("outbox cannot be written", zap.Int64("chat", chatID), zap.Error(err))
		lifecycle.Sleep(ctx, pause)
	}
}

// outlasting writes what the end of the program must not cut short.
func outlasting(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := lifecycle.Outlive(ctx, store.LastWrite)
	defer cancel()
	return write(ctx)
}

// fatal keeps of an error only that the store was lost to another gateway.
func fatal(err error) error {
	if store.Fenced(err) {
		return err
	}
	return nil
}
