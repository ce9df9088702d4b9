package gateway

import (
	"context"
	"errors"
	"time"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
)

// Runs reports whether a gateway uses the store that is configured. It changes
// nothing.
func Runs(c Config) (bool, error) { return store.InUse(c.Store) }

// CanPoll says what keeps the bot from its updates until somebody mends it: a token
// that Telegram refuses, or a webhook. It is nil where that cannot be asked just now.
func CanPoll(ctx context.Context, c Config) error {
	bot, err := botapi.New(botapi.Options{Token: c.Token, BaseURL: c.APIURL, RequestTimeout: apiTimeout})
	if err != nil {
		return err
	}
	defer bot.CloseIdleConnections()
	if _, err := bot.GetMe(ctx); tokenRefusal(err) != 0 {
		return errors.New("the token is refused by Telegram: copy it again from @BotFather (/mybots)")
	}
	if info, err := bot.GetWebhookInfo(ctx); err == nil && info.Set {
		return errors.New("a webhook is set, and with one Telegram refuses every poll; to end it: " + c.deleteWebhook())
	}
	return nil
}

// Waiting is a message that waits at Telegram for the bot and would run a turn.
type Waiting struct {
	UpdateID, ChatID, FromID int64
	Text                     string
}

// Wait waits until updates are there for the bot, and looks at them without
// taking them: they stay for the next cycle. It returns the prompts of allowed
// chats among them, possibly none, and none when patience, at most 50 s, ends
// first. What the cursor file says was received is confirmed to Telegram by it
// (getUpdates, offset), as by every poll; nothing is stored.
//
// Errors: *botapi.Error when the poll failed, *poller.CursorFileError when the
// cursor file cannot be read, and ctx's.
func Wait(ctx context.Context, c Config, patience time.Duration) ([]Waiting, error) {
	bot, err := botapi.New(botapi.Options{Token: c.Token, BaseURL: c.APIURL})
	if err != nil {
		return nil, err
	}
	defer bot.CloseIdleConnections()
	request := botapi.GetUpdates{Timeout: patience.Truncate(time.Second), AllowedUpdates: poller.AllowedUpdates()}
	if c.CursorStatePath != "" {
		floor, err := poller.ReadCursor(c.CursorStatePath)
		if err != nil {
			return nil, err
		}
		if floor != nil {
			request.Offset = *floor
		}
	}
	updates, err := bot.GetUpdates(ctx, request)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	gate := admission.NewGate(admission.Policy{Allowed: c.AllowedChatIDs})
	var found []Waiting
	for _, raw := range updates {
		// What is not of the right shape is no prompt.
		if u, err := admission.Parse(raw.Raw); err == nil && gate.Judge(u).Action == admission.Prompt {
			found = append(found, Waiting{UpdateID: u.ID, ChatID: u.ChatID, FromID: u.FromID, Text: u.Text})
		}
	}
	return found, nil
}
