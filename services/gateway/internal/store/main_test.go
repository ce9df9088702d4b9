package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/sqldb"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashStore); path != "" {
		writeUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(server.Exit))
}

// server is where the tests' PostgreSQL databases are.
var server = pgtest.New()

// place makes an empty database and says where it is.
type place func(testing.TB) string

func sqlite(t testing.TB) string { return filepath.Join(t.TempDir(), "gateway.db") }

func postgres(t testing.TB) string { return server.URL(t) }

// both runs a test on either kind of database, beside other tests.
func both(t *testing.T, test func(*testing.T, place)) {
	t.Parallel()
	for name, at := range map[string]place{"sqlite": sqlite, "postgres": postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, at)
		})
	}
}

const (
	botID  = 1000000
	chat   = int64(42)
	worker = "worker-1"
)

var bot = store.Bot{ID: botID, Username: "telecodex_bot", Fingerprint: store.Fingerprint("1000000:token")}

// began is when the tests' first update arrives.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens the database at path and acquires the bot.
func open(t testing.TB, path string) (*store.DB, *store.Store) {
	t.Helper()
	db, err := store.Open(t.Context(), path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s, err := db.Acquire(t.Context(), bot, nil)
	if err != nil {
		t.Fatal(errors.Join(err, db.Close()))
	}
	return db, s
}

// desk is a store that can crash: it is closed without a word to anyone and
// opened again.
type desk struct {
	*store.Store
	t    testing.TB
	db   *store.DB
	path string
}

func newDesk(t testing.TB, at place) *desk {
	t.Helper()
	d := &desk{t: t, path: at(t)}
	d.db, d.Store = open(t, d.path)
	t.Cleanup(func() {
		if err := d.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) reopen() {
	d.t.Helper()
	if err := d.db.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.db, d.Store = open(d.t, d.path)
}

// older makes the store that a program with that many migrations has left, and
// writes rows into it.
func (d *desk) older(migrations int, statements ...string) {
	d.t.Helper()
	files, err := os.ReadDir("migrations")
	d.must(err)
	steps := fstest.MapFS{}
	for _, f := range files[:migrations] {
		step, err := os.ReadFile(filepath.Join("migrations", f.Name()))
		d.must(err)
		steps[f.Name()] = &fstest.MapFile{Data: step}
	}
	old, err := sqldb.Open(d.t.Context(), d.path, sqldb.Migrations{Files: steps})
	d.must(err)
	d.must(old.Write(d.t.Context(), func(tx *sql.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(s); err != nil {
				return err
			}
		}
		return nil
	}))
	d.must(old.Close())
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// second is the error of a call that returns something else too.
func second(_ any, err error) error { return err }

// prompt is an accepted message of the test's chat.
func prompt(id int64, text string) store.NewUpdate {
	return store.NewUpdate{UpdateID: id, Kind: store.KindPrompt, State: store.Queued, Digest: fmt.Sprintf("digest of %d: %q", id, text),
		SessionID: "telegram:42", ChatID: chat, MessageID: id, FromID: 7, Private: true, Text: text, Date: began}
}

func command(id int64, kind store.Kind) store.NewUpdate {
	u := prompt(id, "/"+string(kind))
	u.Kind = kind
	return u
}

// ingest stores updates at a time when none of them can be stale.
func (d *desk) ingest(updates ...store.NewUpdate) store.Ingested {
	d.t.Helper()
	in, err := d.Ingest(d.t.Context(), updates, began.Add(time.Second))
	d.must(err)
	return in
}

func key(id int64) store.Key { return store.Key{Generation: 1, UpdateID: id} }

func turnID(id int64, attempt int) string { return store.TurnID(botID, key(id), attempt) }

// state is where an update is.
func (d *desk) state(id int64) store.State {
	d.t.Helper()
	trace, err := d.Trace(d.t.Context(), id, 0)
	d.must(err)
	return trace.Update.State
}

func answer(text string) []store.Message {
	return []store.Message{{Kind: store.Answer, Text: text, ReplyTo: 1}}
}

// sendAll sends every waiting message and returns their texts by chat, in the
// order in which they were sent.
func (d *desk) sendAll() map[int64][]string {
	d.t.Helper()
	sent := map[int64][]string{}
	chats, err := d.PendingChats(d.t.Context())
	d.must(err)
	for _, id := range chats {
		sent[id] = d.send(id)
	}
	return sent
}

// send sends every waiting message of a chat.
func (d *desk) send(chatID int64) (sent []string) {
	d.t.Helper()
	ctx := d.t.Context()
	for {
		m, ok, err := d.NextMessage(ctx, chatID)
		d.must(err)
		if !ok {
			return sent
		}
		d.must(d.MarkSending(ctx, m.ID))
		_, err = d.MarkSent(ctx, m.ID, 500+m.ID, began)
		d.must(err)
		sent = append(sent, m.Text)
	}
}

func wantStateError(t testing.TB, err error) {
	t.Helper()
	var state *store.StateError
	if !errors.As(err, &state) {
		t.Errorf("err = %v, want a *StateError", err)
	}
}
