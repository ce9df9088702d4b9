// Package store keeps what the gateway has promised: the updates it took from
// Telegram, how far it took them, the turns they became, the sessions those
// belong to, and the messages that answer them. Every method is one durable
// transaction that moves one thing from one state to the next, does nothing when
// that was done before, or refuses with a *StateError; so whatever crashes
// between two of them, going on from what is stored loses nothing and does
// nothing twice.
//
// Several gateways may share a database, but only one may serve a bot: every
// write opens by touching the bot's lease, and fails with *FencedError when
// another gateway has taken it.
package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. It serves nobody until a bot is acquired.
type DB struct {
	sql        *sqldb.DB
	migrations sqldb.Migrations
	guard      guard
	name       string // of the database, without its password
	holder     string // names this process in leases
	serves     atomic.Bool
	damage     damage
	log        *zap.Logger
}

// LastWrite is how long a write may go on when the program ends: whether one was
// carried out may not be known before a server answers that is away.
const LastWrite = 5 * time.Second

// Store is a bot's part of the database, held by this gateway.
type Store struct {
	db          *DB
	group       *sqldb.Group
	bot         Bot
	epoch       int64
	ttl         time.Duration
	beat        int64 // of the transaction that runs
	took        bool  // from a gateway that had not released it
	supergroups supergroups

	leaseMu   sync.Mutex
	guarded   bool
	confirmed time.Time // when this gateway last was the holder for certain
}

// Fingerprint stands for a token without revealing it: 16 hex digits.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// HeldError says that another gateway holds the bot, and lives.
type HeldError struct{ Name string } // of the database

func (e *HeldError) Error() string {
	return fmt.Sprintf("another gateway holds the store %s: nothing was changed; stop it first", e.Name)
}

// FencedError says that another gateway has taken the bot over: this one has to
// stop. Nothing was written.
type FencedError struct{ BotID, Epoch int64 }

func (e *FencedError) Error() string {
	return fmt.Sprintf("another gateway has taken over bot %d (epoch %d is past): nothing was written or sent since; start this one again to stand by",
		e.BotID, e.Epoch)
}

// StateError refuses a step that what is stored does not allow. Nothing was
// written.
type StateError struct {
	What string // the turn, update or message
	Want string // what the step needs
	Have string // the state it is in; empty: it is not stored
}

func (e *StateError) Error() string {
	if e.Have == "" {
		return fmt.Sprintf("%s is not stored", e.What)
	}
	return fmt.Sprintf("%s is %s, not %s", e.What, e.Have, e.Want)
}

// Open opens the database that dsn names: the path of a SQLite file, which is made
// where it is missing, or a postgres:// URL. It changes nothing in it: whoever
// holds it may be an older program; Acquire and Await bring the schema up to date.
// Errors: *sqldb.Error, *sqldb.TargetError.
func Open(ctx context.Context, dsn string, log *zap.Logger) (*DB, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	db := &DB{migrations: sqldb.Migrations{Files: steps}, name: sqldb.Name(dsn), holder: uuid.NewString(), log: log}
	if !sqldb.IsPostgres(dsn) {
		db.guard.path = lockOf(dsn)
	}
	if db.sql, err = sqldb.Connect(ctx, dsn); err != nil {
		return nil, fmt.Errorf("open the store %s: %w", db.name, err)
	}
	db.noteDamage(dsn)
	return db, nil
}

// Observe has every write transaction timed. It is called once, before the first of
// them; f must not block.
func (db *DB) Observe(f func(took time.Duration, err error)) { db.sql.Observe(f) }

// CheckDSN says whether dsn can name a database, as far as its text goes. It never
// repeats it: a URL holds a password.
func CheckDSN(dsn string) error {
	if !sqldb.IsPostgres(dsn) && (dsn == "" || strings.Contains(dsn, "://")) {
		return errors.New("must be the path of a SQLite file or a postgres:// URL")
	}
	if err := sqldb.CheckTarget(dsn); err != nil {
		return fmt.Errorf("is not usable: %w", err)
	}
	return nil
}

// lockOf is the file whose lock the gateway that serves from a SQLite file has.
func lockOf(path string) string { return path + ".lock" }

// Close closes the database and lets another gateway have the file.
func (db *DB) Close() error {
	return errors.Join(db.sql.Close(), db.guard.release())
}

// welcome writes the rows of a bot and of its token's cursor, where they are
// missing. A new token of a known bot begins in the bot's newest generation:
// what Telegram sends again is recognized there.
func (q *tx) welcome(bot Bot, floor *int64) error {
	var known int
	if err := q.row(`SELECT count(*) FROM bots`).Scan(&known); err != nil {
		return err
	}
	var next, committedAt int64
	if known == 0 && floor != nil {
		next, committedAt = *floor, q.now
	}
	var generation int64
	err := q.row(`INSERT INTO bots (bot_id, username, generation, created_at) VALUES ($1, $2, 1, $3)
		ON CONFLICT (bot_id) DO UPDATE SET username = excluded.username
		RETURNING generation`, bot.ID, clean(bot.Username), q.now).Scan(&generation)
	if err != nil {
		return err
	}
	if err := q.exec(`INSERT INTO totals (bot_id, accepted, answered, dropped) VALUES ($1, 0, 0, 0)
		ON CONFLICT (bot_id) DO NOTHING`, bot.ID); err != nil {
		return err
	}
	return q.exec(`INSERT INTO cursors (bot_id, fingerprint, generation, next_offset, committed_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (bot_id, fingerprint) DO NOTHING`,
		bot.ID, bot.Fingerprint, generation, next, committedAt)
}

// Name names an update of the bot in logs and traces.
func (s *Store) Name(key Key) string { return UpdateName(s.bot.ID, key) }

// Bot is the bot whose part this is.
func (s *Store) Bot() Bot { return s.bot }

// Epoch counts the gateways that have held the bot; this one's number.
func (s *Store) Epoch() int64 { return s.epoch }

// TookOver says whether the bot was taken from a gateway that had not released it.
func (s *Store) TookOver() bool { return s.took }

// write runs fn in a fenced transaction; when it returns nil, what fn wrote is
// on the disk.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	began := time.Now()
	err := s.group.Write(ctx, func(t *sql.Tx) error {
		return fn(&tx{Tx: t, bot: s.bot.ID, now: millis(time.Now())})
	})
	if err == nil {
		s.confirm(began)
	}
	return err
}

// read runs fn on one snapshot.
func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	return s.db.sql.Read(ctx, func(t *sql.Tx) error {
		return fn(&tx{Tx: t, bot: s.bot.ID, now: millis(time.Now())})
	})
}
