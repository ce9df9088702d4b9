package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/rpc"
)

const (
	// apiTimeout is how long one call of the Bot API may take in a check.
	apiTimeout = 5 * time.Second
	// watched is how long waiting updates are watched for somebody who takes them.
	watched = 2 * time.Second
	// provoked is how long a poll waits for the poller it has put an end to: those
	// come back within seconds.
	provoked = 10 * time.Second
	// A clock may be so far off before it is said, and before it is wrong.
	clockOff   = 30 * time.Second
	clockWrong = 5 * time.Minute
)

// checkTelegram asks who the bot is, and what stands between it and its updates.
func (c Config) checkTelegram(ctx context.Context, poll bool) []checkup.Finding {
	clock := &clockReader{base: http.DefaultTransport.(*http.Transport).Clone()}
	defer clock.base.CloseIdleConnections()
	bot, err := botapi.New(botapi.Options{Token: c.Token, BaseURL: c.APIURL, Transport: clock, RequestTimeout: apiTimeout})
	if err != nil {
		return []checkup.Finding{checkup.Broken("token", err.Error(), "set CHANNEL_TOKEN or CHANNEL_TOKEN_FILE")}
	}
	found := c.checkTokenFile()
	me, err := bot.GetMe(ctx)
	if err != nil {
		return append(append(found, tokenFinding(err)), unknown("webhook"), unknown("poller"), clock.finding())
	}
	found = append(found, checkup.Well("token", "Telegram knows it: @%s (%d)", me.Username, me.ID))
	info, err := bot.GetWebhookInfo(ctx)
	switch {
	case err != nil:
		found = append(found, checkup.Broken("webhook", err.Error(), "try again"), unknown("poller"))
	case info.Set:
		found = append(found, checkup.Broken("webhook", fmt.Sprintf("one is set: Telegram refuses polls with 409; %s", waiting(info.Pending)),
			"whoever set it still uses the bot, or forgot it; to end it: "+c.deleteWebhook()), unknown("poller"))
	default:
		found = append(found, checkup.Well("webhook", "none is set; %s", waiting(info.Pending)), c.checkPoller(ctx, bot, info.Pending, poll))
	}
	return append(found, clock.finding())
}

// waiting says how many updates wait.
func waiting(n int) string {
	if n == 1 {
		return "1 update waits"
	}
	return fmt.Sprintf("%d updates wait", n)
}

// deleteWebhook is what ends a webhook, for a shell. What it shows of the
// configuration is no more than the token file's name.
func (c Config) deleteWebhook() string {
	base, token := "https://api.telegram.org", "$CHANNEL_TOKEN"
	if c.APIURL != defaults().APIURL {
		base = "$CHANNEL_TELEGRAM_API_URL"
	}
	if c.TokenFile != "" {
		token = "$(cat '" + c.TokenFile + "')"
	}
	return `curl "` + base + "/bot" + token + `/deleteWebhook"`
}

// unknown is a finding about what could not be asked.
func unknown(name string) checkup.Finding {
	return checkup.Doubtful(name, "not known", "mend what else fails, then ask again")
}

func tokenFinding(err error) checkup.Finding {
	const name = "token"
	if code := tokenRefusal(err); code != 0 {
		return checkup.Broken(name, fmt.Sprintf("Telegram refuses it (%d)", code),
			"copy it again from @BotFather (/mybots), into CHANNEL_TOKEN or CHANNEL_TOKEN_FILE; and look at CHANNEL_TELEGRAM_API_URL, if that is set")
	}
	return checkup.Broken(name, "Telegram cannot be asked: "+err.Error(), "look at the network, at HTTPS_PROXY, and at CHANNEL_TELEGRAM_API_URL, if that is set")
}

// tokenRefusal is the code of an error of getMe that means that the token is none; 0: it
// means something else.
func tokenRefusal(err error) int {
	failure, ok := errors.AsType[*botapi.Error](err)
	if ok && failure.Kind == botapi.KindAPI && (failure.Code == http.StatusUnauthorized || failure.Code == http.StatusNotFound) {
		return failure.Code
	}
	return 0
}

// checkTokenFile says who else can read the token, where that can be seen.
func (c Config) checkTokenFile() []checkup.Finding {
	info, err := os.Stat(c.TokenFile)
	if c.TokenFile == "" || err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []checkup.Finding{checkup.Doubtful("token file", fmt.Sprintf("other users of this machine may read it (mode %04o)", info.Mode().Perm()), "chmod 600 "+c.TokenFile)}
}

// checkPoller says whether somebody else takes the bot's updates.
func (c Config) checkPoller(ctx context.Context, bot *botapi.Client, pending int, poll bool) checkup.Finding {
	const name, mend = "poller", "stop the other program that uses this token, or revoke the token with @BotFather (/revoke)"
	used, err := store.InUse(c.Store)
	switch {
	case err != nil:
		return unknown(name) // the store says why
	case used:
		return c.checkRunning(ctx)
	case poll:
		return c.provoke(ctx, bot, mend)
	case pending == 0:
		return checkup.Well(name, "no gateway uses the store, and no other was noticed; `telecodex doctor --poll` makes sure, and ends another's poll once")
	}
	select {
	case <-time.After(watched):
	case <-ctx.Done():
	}
	info, err := bot.GetWebhookInfo(ctx)
	switch {
	case err != nil:
		return checkup.Doubtful(name, err.Error(), "try again")
	case info.Pending < pending:
		return checkup.Broken(name, fmt.Sprintf("no gateway uses the store, but of the updates that wait %d went within %s", pending-info.Pending, watched), mend)
	}
	detail := fmt.Sprintf("no gateway uses the store; %s, and nobody else takes any", waiting(info.Pending))
	if c.floor() > 0 {
		detail += "; what the store has taken lately is among them: its next poll tells Telegram"
	}
	return checkup.Well(name, "%s", detail)
}

// floor is the first update that was not taken, as the cursor file says; 0: it
// does not.
func (c Config) floor() int64 {
	if c.CursorStatePath == "" {
		return 0
	}
	if floor, err := poller.ReadCursor(c.CursorStatePath); err == nil && floor != nil {
		return *floor
	}
	return 0
}

// provoke polls without confirming anything: another poller's poll ends, and when
// it polls again, this one does.
func (c Config) provoke(ctx context.Context, bot *botapi.Client, mend string) checkup.Finding {
	const name = "poller"
	updates, err := bot.GetUpdates(ctx, botapi.GetUpdates{Limit: 1, Timeout: provoked, AllowedUpdates: poller.AllowedUpdates()})
	var failure *botapi.Error
	switch {
	case errors.As(err, &failure) && failure.Conflict():
		return checkup.Broken(name, "another program polls this bot: each ends the other's polls with 409", mend)
	case err != nil:
		return checkup.Doubtful(name, err.Error(), "try again")
	case len(updates) > 0 && updates[0].ID < c.floor():
		return checkup.Well(name, "no other: updates wait, and the store has taken the first of them already; its next poll tells Telegram")
	case len(updates) > 0:
		return checkup.Well(name, "no other: updates wait, and nobody takes them")
	}
	return checkup.Well(name, "no other within %s", provoked)
}

// checkRunning asks the gateway that uses the store how its polls go.
func (c Config) checkRunning(ctx context.Context) checkup.Finding {
	const name, here = "poller", "the gateway that uses the store"
	if c.ListenAddr == "" {
		return checkup.Well(name, "%s; it has no operator API to ask how its polls go", here)
	}
	target := c.ListenAddr
	if path, socket := strings.CutPrefix(target, "unix://"); socket {
		target = "unix:" + path // gRPC wants no relative path behind //
	}
	self, err := c.Access.Self()
	if err != nil {
		return checkup.Doubtful(name, err.Error(), "mend the files of the operator API")
	}
	conn, err := rpc.Dial(target, self)
	if err != nil {
		return checkup.Doubtful(name, err.Error(), "look at CHANNEL_LISTEN_ADDR")
	}
	defer conn.Close() // nothing is lost with it
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	status, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(ctx, &gatewayv1.GetStatusRequest{})
	if err != nil {
		return checkup.Doubtful(name, fmt.Sprintf("%s; its operator API at %s does not answer", here, c.ListenAddr), "look at its log, and whether it has the same CHANNEL_LISTEN_ADDR")
	}
	if status.GetLastPollAt() == nil {
		return checkup.Doubtful(name, here+" has not polled with success yet", "ask again in a minute; its log says what holds it up")
	}
	age := time.Since(status.GetLastPollAt().AsTime())
	if age > c.deafAfter() {
		return checkup.Broken(name, fmt.Sprintf("%s last polled with success %s ago", here, age.Round(time.Second)),
			"its log says why; with 409 another program polls this bot: stop that one, or revoke the token with @BotFather (/revoke)")
	}
	return checkup.Well(name, "%s, which polled with success %s ago", here, age.Round(time.Second))
}

// clockReader reads the Date of answers on their way.
type clockReader struct {
	base *http.Transport
	mu   sync.Mutex
	off  time.Duration // this machine's clock against the server's; positive: ahead
	took time.Duration // of the answer that said so; 0: none did
}

// RoundTrip implements http.RoundTripper.
func (c *clockReader) RoundTrip(r *http.Request) (*http.Response, error) {
	started := time.Now()
	answer, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return answer, nil // no Date: nothing is known
	}
	took := max(time.Since(started), 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.took == 0 || took < c.took { // the quickest says it best
		c.off, c.took = started.Add(took/2).Sub(date.Add(time.Second/2)), took // a Date is cut to the second
	}
	return answer, nil
}

func (c *clockReader) finding() checkup.Finding {
	const name, mend = "clock", "set the clock (NTP): certificates and times of reports depend on it"
	c.mu.Lock()
	defer c.mu.Unlock()
	off := c.off.Abs().Round(time.Second)
	detail := fmt.Sprintf("%s off Telegram's", off)
	switch {
	case c.took == 0:
		return checkup.Doubtful(name, "not known: Telegram did not answer", "mend what else fails, then ask again")
	case off >= clockWrong:
		return checkup.Broken(name, detail, mend)
	case off >= clockOff:
		return checkup.Doubtful(name, detail, mend)
	}
	return checkup.Well(name, "%s", detail)
}
