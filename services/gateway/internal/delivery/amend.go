package delivery

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/store"
)

// lastAmendment is how long an edit waits at most before it is tried again.
const lastAmendment = time.Minute

// amendments are the messages that were sent and are to say something else: the
// questions that were decided. That is cosmetic, and lost with nothing: whoever
// presses an old button is told what was decided.
type amendments struct {
	wanted  bool // some may wait
	running bool // they are being looked through
}

// Amend says that a message that was sent may have to say something else. It never
// blocks, and may be called before Run.
func (s *Sender) Amend() { s.change(func() { s.amendments.wanted = true }) }

// amend edits what is outdated, where and when there is room to spare. It fails only
// when the store is lost to another gateway.
func (s *Sender) amend(ctx context.Context) error {
	wanted := func() bool { return s.amendments.wanted }
	for pause := time.Duration(0); ctx.Err() == nil; {
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if pause > 0 {
			waiting, cancel = context.WithTimeout(ctx, pause)
		}
		asked := s.await(waiting, wanted) == nil
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		s.change(func() { s.amendments = amendments{running: true} })
		left, err := s.amendAll(ctx)
		s.change(func() { s.amendments.running = false })
		if err := fatal(err); err != nil {
			return err
		}
		switch {
		case err == nil && !left:
			pause = 0
		case asked || pause == 0:
			pause = chatInterval
		default:
			pause = min(2*pause, lastAmendment)
		}
	}
	return nil
}

// amendAll tries each outdated message once, and says whether some are left.
func (s *Sender) amendAll(ctx context.Context) (left bool, err error) {
	messages, err := s.Store.Outdated(ctx)
	for i := 0; err == nil && i < len(messages) && ctx.Err() == nil; i++ {
		done := false
		if done, err = s.edit(ctx, messages[i]); done && err == nil {
			err = outlasting(ctx, func(ctx context.Context) error { return s.Store.Amended(ctx, messages[i].ID) })
		}
		left = left || !done
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Error("outbox failed", zap.Error(err))
	}
	return left, err
}

// edit edits a message; done: it says what it is to say, or never will. A chat that
// waits for a message is left alone, as with Typing.
func (s *Sender) edit(ctx context.Context, o store.Outgoing) (done bool, err error) {
	if s.Store.ChatNow(o.ChatID) != o.ChatID {
		return true, nil // a supergroup has messages of its own
	}
	s.mu.Lock()
	busy := s.chats[o.ChatID] != nil || s.wanted[o.ChatID]
	s.mu.Unlock()
	if busy || !s.Budget.Try(o.ChatID, o.Group) {
		return false, nil
	}
	call, cancel := context.WithTimeout(ctx, cosmeticLimit)
	defer cancel()
	sent := s.Bot.EditMessageText(call, botapi.EditMessageText{ChatID: o.ChatID, MessageID: o.SentMessageID, Text: o.Text, DisableLinkPreview: true})
	failure, known := errors.AsType[*botapi.Error](sent)
	switch {
	case sent == nil:
		return true, nil
	case !known:
		return false, nil
	case failure.RetryAfter > 0:
		return false, s.block(ctx, o.ChatID, failure.RetryAfter)
	case failure.MigrateToChatID != 0:
		err := outlasting(ctx, func(ctx context.Context) error { return s.Store.Migrate(ctx, o.ChatID, failure.MigrateToChatID) })
		s.Wake(failure.MigrateToChatID) // what was posted meanwhile woke the group
		return true, err
	}
	s.Log.Info("message not edited", s.named(o), zap.Int64("message", o.ID), zap.Int64("chat", o.ChatID), zap.Error(sent))
	return permanent(failure), nil
}
