package botapi

import (
	"context"
	"encoding/json"
	"time"
)

// MaxLongPoll is the longest poll the Bot API grants (getUpdates, timeout).
const MaxLongPoll = 50 * time.Second

// maxUpdateID keeps an id and its successor exact in any JSON reader, and the
// offset positive: a negative one would make Telegram forget updates.
const maxUpdateID = 1<<53 - 2

// User is a user or bot (User).
type User struct {
	// ID identifies the user.
	ID int64
	// Username is without "@"; empty when there is none.
	Username string
}

// Update is one incoming update (Update), as it came.
type Update struct {
	// ID is the update_id, 0 ≤ ID < 2⁵³.
	ID int64
	// Raw is the whole JSON object, update_id included.
	Raw json.RawMessage
}

// GetUpdates are the parameters of getUpdates.
type GetUpdates struct {
	// Offset is the first update wanted; everything below it is confirmed and
	// forgotten. 0: from the oldest unconfirmed one.
	Offset int64
	// Limit is how many updates at most, 1–100; 0: 100.
	Limit int
	// Timeout is how long the server may wait for an update, in whole seconds up
	// to MaxLongPoll; 0: not at all.
	Timeout time.Duration
	// AllowedUpdates are the types wanted. It is always sent, since the server
	// keeps the list of an earlier call otherwise; empty: the server's default.
	AllowedUpdates []string
}

// WebhookInfo says whether updates go to a webhook instead of to getUpdates
// (getWebhookInfo). The webhook's URL is left out: it often holds the token.
type WebhookInfo struct {
	// Set says that a webhook is set.
	Set bool
	// Pending is the number of updates that wait for delivery.
	Pending int
}

// GetMe says who the bot is (getMe).
func (c *Client) GetMe(ctx context.Context) (User, error) {
	var me struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
	}
	if err := c.readInto(ctx, "getMe", &me); err != nil {
		return User{}, err
	}
	if me.ID == 0 {
		return User{}, invalidResult("getMe", "no user id")
	}
	return User{ID: me.ID, Username: me.Username}, nil
}

// GetWebhookInfo says whether a webhook takes the updates (getWebhookInfo).
func (c *Client) GetWebhookInfo(ctx context.Context) (WebhookInfo, error) {
	var info struct {
		URL     *string `json:"url"`
		Pending int     `json:"pending_update_count"`
	}
	if err := c.readInto(ctx, "getWebhookInfo", &info); err != nil {
		return WebhookInfo{}, err
	}
	if info.URL == nil {
		return WebhookInfo{}, invalidResult("getWebhookInfo", "no url")
	}
	return WebhookInfo{Set: *info.URL != "", Pending: info.Pending}, nil
}

func (c *Client) readInto(ctx context.Context, operation string, into any) error {
	k, err := c.jsonCall(operation, struct{}{})
	if err != nil {
		return err
	}
	result, err := c.read(ctx, k)
	if err != nil {
		return err
	}
	if json.Unmarshal(result, into) != nil {
		return invalidResult(operation, "not the object it should be")
	}
	return nil
}

// GetUpdates polls for updates (getUpdates), in the server's order. An element
// without a usable update_id can be neither stored nor confirmed by itself: it
// is left out and counted (Options.OnMalformedUpdates), and the next offset
// passes it. When a non-empty result has nothing else, the error is of
// KindInvalidResultShape, since no offset would pass it.
func (c *Client) GetUpdates(ctx context.Context, p GetUpdates) ([]Update, error) {
	const operation = "getUpdates"
	allowed := p.AllowedUpdates
	if allowed == nil {
		allowed = []string{}
	}
	timeout := min(p.Timeout, MaxLongPoll).Truncate(time.Second)
	k, err := c.jsonCall(operation, struct {
		Offset  int64    `json:"offset,omitempty"`
		Limit   int      `json:"limit,omitempty"`
		Timeout int64    `json:"timeout"`
		Allowed []string `json:"allowed_updates"`
	}{p.Offset, p.Limit, int64(timeout / time.Second), allowed})
	if err != nil {
		return nil, err
	}
	k.client, k.timeout, k.maxBody = c.polls, timeout+c.pollMargin, maxPollBody
	result, err := c.read(ctx, k)
	if err != nil {
		return nil, err
	}
	updates, malformed, ok := parseUpdates(result)
	if malformed > 0 {
		c.onMalformed(malformed)
	}
	if !ok {
		return nil, invalidResult(operation, "not an array of updates")
	}
	return updates, nil
}

// parseUpdates splits a result into its updates and the number of elements that
// are none; false when it is no array, or one of nothing but broken elements.
func parseUpdates(result json.RawMessage) (updates []Update, malformed int, ok bool) {
	elements, ok := value[[]json.RawMessage](result)
	if !ok {
		return nil, 0, false
	}
	updates = make([]Update, 0, len(elements))
	for _, raw := range elements {
		object, _ := value[struct {
			ID json.RawMessage `json:"update_id"`
		}](raw)
		id, ok := value[int64](object.ID)
		if !ok || id < 0 || id > maxUpdateID {
			malformed++
			continue
		}
		updates = append(updates, Update{ID: id, Raw: raw})
	}
	return updates, malformed, malformed == 0 || len(updates) > 0
}
