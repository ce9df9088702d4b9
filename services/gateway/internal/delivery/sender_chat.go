package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/lifecycle"
)

const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 30 * time.Second
	// lastRefusal is the same for a chat that refuses the bot.
	lastRefusal = 10 * time.Minute
	// onceAttempts is how often a message is tried before Once leaves it.
	onceAttempts = 3
	// onceWait is how long Once waits, in all, for a chat that Telegram holds back.
	onceWait = 10 * time.Second
	// lastCall is how long a call under way may go on when the program ends.
	lastCall = 5 * time.Second
)

// chat sends the messages of one chat.
type chat struct {
	*Sender
	id    int64
	woken bool            // guarded by Sender.mu
	ahead *store.Outgoing // what comes next, where that is known

	failures int       // in a row
	resume   time.Time // when the message is tried again that failed last
	since    time.Time // of the first of them
	refused  bool      // the last one was the chat's refusal
	// spent is how long the sends of an update took. Not every update is settled
	// by its last message; what is left is forgotten once nothing waits.
	spent map[store.Key]time.Duration
}

// run sends until nothing waits for the chat. It fails only when the store is
// lost to another gateway.
func (c *chat) run(ctx context.Context) error {
	for {
		again, err := c.next(ctx)
		if err != nil || ctx.Err() != nil {
			c.change(func() { delete(c.chats, c.id) })
			return err
		}
		if !again && c.leave() {
			return nil
		}
	}
}

// leave ends the goroutine unless a message was added meanwhile. What waited for a
// group may wait for a supergroup now.
func (c *chat) leave() (left bool) {
	c.change(func() {
		if left = !c.woken; left {
			delete(c.chats, c.id)
			if now := c.Store.ChatNow(c.id); now != c.id {
				c.wanted[now] = true
			}
			if c.forgotten[c.id] {
				c.forget(c.id)
			}
		}
		c.woken = false
	})
	return left
}

// next sends the chat's next message; false when there is none to be sent now.
func (c *chat) next(ctx context.Context) (again bool, err error) {
	o, ok, err := c.first(ctx)
	if err != nil {
		return c.storeFailed(ctx, err)
	}
	if !ok {
		return false, nil
	}
	if !c.wait(ctx, o) {
		return false, nil
	}
	if err := c.Budget.Wait(ctx, c.id, o.Group); err != nil {
		return false, nil
	}
	if err := c.Store.MarkSending(ctx, o.ID); err != nil {
		return c.storeFailed(ctx, err)
	}
	if o.Attempts++; o.Attempts > 1 {
		c.Reports.Retried(o.Key)
	}
	started := time.Now()
	crashpoint.Here(crashpoint.Sending)
	messageID, sendErr := c.send(ctx, o)
	crashpoint.Here(crashpoint.Answered)
	took := time.Since(started)
	c.spent[o.Key] += took
	outcome := c.outcome(sendErr)
	c.Meter.Sending(o.Kind, outcome, took)
	c.traceSend(o, outcome, started)
	again, err = c.after(ctx, o, messageID, sendErr)
	if err != nil {
		return c.storeFailed(ctx, err)
	}
	return again, nil
}

// first is the chat's first message. That of a message which was ended is known
// from there.
func (c *chat) first(ctx context.Context) (o store.Outgoing, ok bool, err error) {
	if c.ahead == nil {
		return c.Store.NextMessage(ctx, c.id)
	}
	o, c.ahead = *c.ahead, nil
	return o, true, nil
}

// ended takes over what the store says at the end of a message; again: there is
// another one.
func (c *chat) ended(o store.Outgoing, r store.SentResult) (again bool) {
	if r.More {
		c.ahead = &r.Next
	}
	crashpoint.Here(crashpoint.Sent)
	c.settle(o, r)
	return r.More
}

func (c *chat) storeFailed(ctx context.Context, err error) (bool, error) {
	if err := fatal(err); err != nil || ctx.Err() != nil {
		return false, err
	}
	c.Log.Error("outbox failed", zap.Int64("chat", c.id), zap.Error(err))
	c.fail()
	if c.Once && c.failures >= onceAttempts {
		return false, nil
	}
	lifecycle.Sleep(ctx, c.backoff(lastBackoff))
	return true, nil
}

// wait waits until the message may be tried; false when that is too late.
func (c *chat) wait(ctx context.Context, o store.Outgoing) bool {
	until := c.Budget.Held(c.id)
	if again := c.again(o); again.After(until) {
		until = again
	}
	if c.Once && time.Until(until) > onceWait {
		c.left(ctx, errors.New("the chat has to wait until "+until.UTC().Format(time.RFC3339)))
		return false
	}
	if c.refused {
		c.sleepUntilWoken(ctx, time.Until(until))
	} else {
		lifecycle.Sleep(ctx, time.Until(until))
	}
	return ctx.Err() == nil
}

// again is when a message that failed is tried again. The store's time is that of an
// earlier process, and of a clock that may have been set back since.
func (c *chat) again(o store.Outgoing) time.Time {
	latest := time.Now().Add(lastBackoff)
	switch {
	case c.failures > 0:
		return c.resume
	case o.NotBefore.After(latest):
		return latest
	}
	return o.NotBefore
}

// sleepUntilWoken sleeps until there is more to be sent: whoever gets an answer has
// written, and so may take the earlier ones now.
func (c *chat) sleepUntilWoken(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		c.mu.Lock()
		woken, changed := c.woken, c.changed
		c.woken = false
		c.mu.Unlock()
		if woken {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-changed:
		}
	}
}

// send makes the call. The end of the program does not cut it short at once: a
// call that is cut is in doubt.
func (c *chat) send(ctx context.Context, o store.Outgoing) (int64, error) {
	callCtx, cancel := lifecycle.Outlive(ctx, lastCall)
	defer cancel()
	c.mu.Lock()
	topicID := c.topicOf(o.ChatID, o.TopicID)
	c.mu.Unlock()
	if o.Document != nil {
		m, err := c.Bot.SendDocument(callCtx, botapi.SendDocument{ChatID: o.ChatID, TopicID: topicID, ReplyTo: o.ReplyTo,
			FileName: o.Document.Name, Content: o.Document.Content, Caption: o.Text})
		return m.ID, err
	}
	m, err := c.Bot.SendMessage(callCtx, botapi.SendMessage{ChatID: o.ChatID, TopicID: topicID, Text: o.Text, ReplyTo: o.ReplyTo,
		DisableLinkPreview: true, ReplyMarkup: o.Markup})
	return m.ID, err
}

// after writes what became of a call.
func (c *chat) after(ctx context.Context, o store.Outgoing, messageID int64, err error) (again bool, _ error) {
	failure := (*botapi.Error)(nil)
	if err == nil {
		c.failures, c.refused = 0, false
		return c.sent(ctx, o, messageID)
	}
	if !errors.As(err, &failure) {
		failure = &botapi.Error{Retry: botapi.RetryTransient, InDoubt: true}
	}
	log := c.Log.With(c.named(o), zap.Int64("message", o.ID), zap.Int64("chat", c.id), zap.Int("attempt", o.Attempts), zap.Error(err))
	switch {
	case failure.MigrateToChatID != 0:
		log.Info("group became a supergroup", zap.Int64("supergroup", failure.MigrateToChatID))
		return true, c.follow(ctx, o, failure.MigrateToChatID)
	case failure.ThreadNotFound() && o.TopicID != 0:
		log.Info("topic is gone; sending without it")
		c.change(func() { c.noTopic[topic{o.ChatID, o.TopicID}] = true })
		return true, c.mark(ctx, o, time.Time{}, "topic gone", false)
	case permanent(failure) && !c.bears(failure):
		log.Error("message refused for good")
		return c.dead(ctx, o, err)
	}
	log.Warn("message not sent")
	return c.retry(ctx, o, failure, err)
}

// outcome is what became of a call, for those who watch.
func (c *chat) outcome(err error) string {
	failure, known := errors.AsType[*botapi.Error](err)
	switch {
	case err == nil:
		return meters.Sent
	case !known, failure.MigrateToChatID != 0, failure.ThreadNotFound():
		return meters.Retried
	case failure.RetryAfter > 0:
		return meters.RateLimited
	case permanent(failure) && !c.bears(failure):
		return meters.Refused
	}
	return meters.Retried
}

// follow has what waits for a group sent to the supergroup that it has become.
func (c *chat) follow(ctx context.Context, o store.Outgoing, to int64) error {
	err := c.persist(ctx, c.id, func(ctx context.Context) error { return c.Store.Migrate(ctx, o.ChatID, to) })
	if err == nil {
		err = c.mark(ctx, o, time.Time{}, "migrated", false)
	}
	if err == nil {
		c.Wake(to)
	}
	return err
}

// permanent says whether the same call fails for ever. A token that is refused
// says nothing about the message.
func permanent(e *botapi.Error) bool {
	return e.Kind == botapi.KindAPI && e.Retry == botapi.RetryNever &&
		e.Code != http.StatusUnauthorized && e.Code != http.StatusNotFound && e.Code != http.StatusConflict
}

// bears says whether a refusal that says nothing about the message is borne with.
func (c *chat) bears(e *botapi.Error) bool { return c.OnSuccess && e.Code == http.StatusForbidden }

func (c *chat) sent(ctx context.Context, o store.Outgoing, messageID int64) (bool, error) {
	var r store.SentResult
	err := c.persist(ctx, c.id, func(ctx context.Context) (err error) {
		r, err = c.Store.MarkSent(ctx, o.ID, messageID, time.Now())
		return err
	})
	if err != nil {
		return true, err
	}
	if o.Kind == store.Question {
		c.Amend() // it may have been decided meanwhile
	}
	c.Log.Info("message sent", c.named(o), zap.String("kind", o.Kind), zap.Int("attempt", o.Attempts), zap.Bool("settled", r.Settled))
	return c.ended(o, r), nil
}

func (c *chat) dead(ctx context.Context, o store.Outgoing, cause error) (bool, error) {
	var r store.SentResult
	err := c.persist(ctx, c.id, func(ctx context.Context) (err error) {
		r, err = c.Store.MarkDead(ctx, o.ID, cause.Error())
		return err
	})
	if err != nil {
		return false, err
	}
	c.Reports.Diagnostic(o.Key, cycle.Detail{Code: cycle.ProcessingException, Message: processingError(o.Key, cause),
		UpdateID: o.Key.UpdateID, ChatID: o.ChatID, SessionID: c.sessionOf(o)})
	return c.ended(o, r), nil
}

func (c *chat) settle(o store.Outgoing, r store.SentResult) {
	if !r.Settled {
		return
	}
	c.traceUpdate(r)
	c.Reports.Settled(r.Key, c.sessionOf(o), cycle.Result{Sent: r.Answered, Left: r.DeadLetters > 0 && !r.Answered, Code: r.Outcome.ErrorCode,
		Message: r.Outcome.ErrorMessage, SendTime: c.took(r.Key)})
}

// took is the time that all sends of an update took, once it is settled.
func (c *chat) took(key store.Key) time.Duration {
	defer delete(c.spent, key)
	return c.spent[key]
}

// retry keeps the message for another try.
func (c *chat) retry(ctx context.Context, o store.Outgoing, failure *botapi.Error, cause error) (bool, error) {
	c.fail()
	c.refused = permanent(failure)
	if failure.InDoubt {
		c.Reports.Diagnostic(o.Key, c.doubt(o))
	}
	wait := c.backoff(lastBackoff)
	if c.refused {
		wait = c.backoff(lastRefusal)
	}
	if failure.RetryAfter > 0 {
		wait = failure.RetryAfter
		if err := c.block(ctx, c.id, wait); err != nil {
			return false, err
		}
	}
	c.resume = time.Now().Add(wait)
	if err := c.mark(ctx, o, c.resume, string(failure.Kind), failure.InDoubt); err != nil {
		return false, err
	}
	// A chat that Telegram holds back is no failure of ours, but Once does not
	// wait for it for ever.
	giveUp := c.Once && (c.refused || c.failures >= onceAttempts && failure.RetryAfter == 0 || time.Since(c.since)+wait > onceWait)
	if giveUp || time.Since(c.since) >= c.Patience {
		c.left(ctx, cause)
	}
	return !giveUp, nil
}

func (c *chat) fail() {
	if c.failures++; c.failures == 1 {
		c.since = time.Now()
	}
}

func (c *chat) backoff(limit time.Duration) time.Duration {
	return min(firstBackoff<<min(c.failures-1, 12), limit)
}

// left reports of every update that waits for a message to this chat alone that
// its messages stay in the outbox.
func (c *chat) left(ctx context.Context, cause error) {
	unsent, err := c.Store.Unsent(context.WithoutCancel(ctx), c.id)
	if err != nil {
		c.Log.Error("outbox failed", zap.Int64("chat", c.id), zap.Error(err))
	}
	for _, u := range unsent {
		c.Reports.Settled(u.Key, u.SessionID, cycle.Result{Left: true, Code: cycle.ProcessingException,
			Message: processingError(u.Key, cause), SendTime: c.took(u.Key)})
	}
}

// doubt counts and logs a message that may arrive twice, and is how it is reported.
func (s *Sender) doubt(o store.Outgoing) cycle.Detail {
	s.Meter.Doubted()
	s.Log.Warn("message may have been sent; it is sent again", s.named(o), zap.Int64("message", o.ID), zap.Int64("chat", o.ChatID))
	return cycle.Detail{Code: cycle.DeliveryInDoubt, UpdateID: o.Key.UpdateID, ChatID: o.ChatID, SessionID: s.sessionOf(o),
		Message: fmt.Sprintf("update %d: a message may have been sent already; it is sent again", o.Key.UpdateID)}
}

func (s *Sender) sessionOf(o store.Outgoing) string {
	return admission.SessionID(s.Store.Conversation(o.ChatID), o.TopicID)
}

func processingError(key store.Key, cause error) string {
	return fmt.Sprintf("update %d: TelegramError: %s", key.UpdateID, cause)
}

func (c *chat) mark(ctx context.Context, o store.Outgoing, at time.Time, reason string, inDoubt bool) error {
	return c.persist(ctx, c.id, func(ctx context.Context) error { return c.Store.MarkRetry(ctx, o.ID, at, reason, inDoubt) })
}
