package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/sqldb"
)

// Limits of the checks.
const (
	telegramLimit = 20 * time.Second
	diskLimit     = 10 * time.Second
	workerLimit   = 20 * time.Second
)

// Check looks whether what a gateway with this configuration needs is there: the
// bot, the allowlist, store and cursor, its addresses, and the workers that the
// configuration names. It serves nothing, changes nothing, and disturbs no
// gateway that runs: a store in use is only looked at, and Telegram is asked for
// no updates, since that would end another's poll with 409. With poll it is, once
// and without confirming any, where no gateway runs here: only that shows a
// poller elsewhere for certain.
func Check(ctx context.Context, c Config, poll bool) []*checkup.Check {
	start := func(name string, limit time.Duration, look func(ctx context.Context) []checkup.Finding) *checkup.Check {
		return checkup.Start(ctx, name, limit, look)
	}
	checks := []*checkup.Check{
		start("token", telegramLimit, func(ctx context.Context) []checkup.Finding { return c.checkTelegram(ctx, poll) }),
		start("allowlist", time.Second, func(context.Context) []checkup.Finding { return []checkup.Finding{c.checkAllowed()} }),
		start("store", diskLimit, c.checkStore),
		start("tls", time.Second, func(context.Context) []checkup.Finding { return c.lookAtAccess() }),
		start("addresses", time.Second, func(ctx context.Context) []checkup.Finding { return c.checkListeners(ctx) }),
	}
	if c.OrchestratorMode == ModeDefault {
		return checks
	}
	for _, target := range c.OrchestratorAddrs {
		checks = append(checks, start("worker "+target, workerLimit, func(ctx context.Context) []checkup.Finding { return c.checkWorker(ctx, target) }))
	}
	return checks
}

func (c Config) checkAllowed() checkup.Finding {
	const name, mend = "allowlist", "name the chats in CHANNEL_ALLOWED_CHAT_IDS; who writes to the bot from another sees nothing, and the cycle report shows its id"
	numbers := 0
	for _, id := range c.AllowedChatIDs {
		if _, err := strconv.ParseInt(id, 10, 64); err == nil {
			numbers++
		}
	}
	switch all := len(c.AllowedChatIDs); {
	case all == 0:
		return checkup.Doubtful(name, "empty: in echo mode everybody is answered", mend)
	case numbers == 0:
		return checkup.Broken(name, "no entry is a chat id: nobody is let in", mend)
	case numbers < all:
		return checkup.Doubtful(name, fmt.Sprintf("%d of %d entries are no chat ids and match nothing", all-numbers, all), mend)
	}
	return checkup.Well(name, "chats that may use the bot: %d", numbers)
}

func (c Config) checkStore(ctx context.Context) []checkup.Finding {
	const mend = "choose another CHANNEL_STORE"
	used, err := store.InUse(c.Store)
	if err != nil {
		mend := "let this user have it, or " + mend
		if store.OnServer(c.Store) {
			mend = "see that the server runs and lets this user in, and look at the URL in CHANNEL_STORE"
		}
		if errors.As(err, new(*sqldb.SchemaError)) {
			mend = mendNewer
		}
		return []checkup.Finding{checkup.Broken("store", once(err.Error()), mend)}
	}
	if store.OnServer(c.Store) {
		return append([]checkup.Finding{c.checkServer(ctx, used)}, c.checkCursor(used)...)
	}
	found := checkup.Directory("store", filepath.Dir(c.Store), used, mend)
	if info, err := os.Stat(c.Store); err == nil && !info.Mode().IsRegular() {
		found[0] = checkup.Broken("store", c.Store+" is not a file", mend)
	}
	if found[0].Verdict == checkup.Fail {
		found = found[:1] // room says nothing there
	}
	if used && found[0].Verdict == checkup.OK {
		found[0].Detail = c.Store + ": a gateway that runs uses it, so it was only looked at"
	}
	if found[0].Verdict != checkup.Fail {
		found[0] = c.lookInto(ctx, found[0])
	}
	return append(found, c.checkCursor(used)...)
}

// What is to be done about a store that cannot be opened.
const (
	mendNewer  = "run the newer version, or restore the backup from before it"
	mendDamage = "look after the disk, and start the gateway, again if it ends: it mends the store if every row can be read; else it changes nothing, and the backup has to be restored"
	mendOther  = "name another file in CHANNEL_STORE; if this was the store, restore its backup, or move it away: then sessions and open turns are forgotten"
)

// lookInto looks into a SQLite file, about which all else is found.
func (c Config) lookInto(ctx context.Context, found checkup.Finding) checkup.Finding {
	const name = "store"
	whole, err := store.Look(ctx, c.Store)
	switch {
	case errors.As(err, new(*sqldb.SchemaError)):
		return checkup.Broken(name, c.Store+": "+err.Error(), mendNewer)
	case errors.Is(err, sqldb.ErrNoDatabase):
		return checkup.Broken(name, c.Store+" is no SQLite database, or no longer one", mendOther)
	case sqldb.KindOf(err) == sqldb.Corrupt:
		return checkup.Broken(name, c.Store+" is damaged", mendDamage)
	case err != nil:
		return checkup.Broken(name, c.Store+": "+err.Error(), "let this user have it, or choose another CHANNEL_STORE")
	case store.Suspect(c.Store):
		return checkup.Doubtful(name, c.Store+": a gateway has met damage in it", mendDamage)
	case !whole:
		found.Detail += "; not all of it was looked at"
	}
	return found
}

// once is a text whose end does not say the same twice, as it does of a server
// that was tried twice.
func once(text string) string {
	for i, r := range text {
		if again := text[i+len(string(r)):]; r == ' ' && len(again) > 20 && strings.HasSuffix(text[:i], again) {
			return text[:i]
		}
	}
	return text
}

// checkServer looks at a PostgreSQL database.
func (c Config) checkServer(ctx context.Context, used bool) checkup.Finding {
	const name = "store"
	condition, err := store.Examine(ctx, c.Store)
	switch {
	case errors.As(err, new(*sqldb.SchemaError)):
		return checkup.Broken(name, err.Error(), mendNewer)
	case err != nil:
		return checkup.Broken(name, err.Error(), "look at the server, and at the URL in CHANNEL_STORE")
	case !condition.Writable:
		return checkup.Broken(name, condition.Name+" cannot be written", "name the primary server, and a user who may make tables there")
	case !condition.Durable:
		return checkup.Doubtful(name, condition.Name+": what is committed may not outlast a crash of the server's machine", "set fsync and full_page_writes to on there")
	case used:
		return checkup.Well(name, "%s: it can be written; a gateway uses it", condition.Name)
	}
	return checkup.Well(name, "%s: it can be written, and what is committed lasts", condition.Name)
}

func (c Config) checkCursor(used bool) []checkup.Finding {
	const name, mend = "cursor", "choose another CHANNEL_CURSOR_STATE_PATH, or an empty one for none: the store has the cursor too"
	if c.CursorStatePath == "" {
		return []checkup.Finding{checkup.Well(name, "no file; the store has the cursor")}
	}
	_, err := poller.ReadCursor(c.CursorStatePath)
	switch {
	case err != nil && c.StrictCursorState:
		return []checkup.Finding{checkup.Broken(name, err.Error(), "mend or remove the file: with CHANNEL_STRICT_CURSOR_STATE_IO every cycle fails")}
	case err != nil:
		return []checkup.Finding{checkup.Doubtful(name, err.Error(), "remove the file: it is written anew from the store")}
	}
	found := checkup.Directory(name, filepath.Dir(c.CursorStatePath), used, mend)[:1] // mostly on the store's disk
	if !c.StrictCursorState && found[0].Verdict == checkup.Fail {
		found[0].Verdict = checkup.Warn // the store has the cursor
	}
	return found
}

// checkListeners tries the addresses, unless the gateway that runs here has them.
func (c Config) checkListeners(ctx context.Context) []checkup.Finding {
	const name = "addresses"
	if used, err := store.InUse(c.Store); used || err != nil {
		return []checkup.Finding{checkup.Well(name, "the gateway that uses the store has them")}
	}
	for _, l := range [...]struct{ variable, addr, usual string }{
		{"CHANNEL_LISTEN_ADDR", c.ListenAddr, defaults().ListenAddr}, {"CHANNEL_METRICS_ADDR", c.MetricsAddr, defaults().MetricsAddr}} {
		// A single cycle does not listen at the usual addresses. To try a socket's path would take it from whoever died and left it; Windows
		// gives out addresses that are taken.
		if l.addr == "" || c.Once && l.addr == l.usual || strings.HasPrefix(l.addr, "unix:") || runtime.GOOS == "windows" {
			continue
		}
		if err := tryAddress(ctx, l.addr); err != nil {
			return []checkup.Finding{checkup.Broken(name, fmt.Sprintf("%s cannot be listened on: %v", l.addr, err), "stop what has it, or choose another "+l.variable+"; empty: none")}
		}
	}
	return []checkup.Finding{checkup.Well(name, "operator API: %s; metrics and health: %s", cmp.Or(c.ListenAddr, "none"), cmp.Or(c.MetricsAddr, "none"))}
}

func tryAddress(ctx context.Context, addr string) error {
	listener, err := rpc.Listen(ctx, addr)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // the address is named already
		}
		return err
	}
	return listener.Close()
}
