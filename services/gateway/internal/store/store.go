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
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. It serves nobody until a bot is acquired.
type DB struct {
	sql  *sqldb.DB
	lock *sqldb.Lock
	log  *zap.Logger
}

// Store is a bot's part of the database, held by this gateway.
type Store struct {
	db    *sqldb.DB
	group *sqldb.Group
	bot   Bot
	epoch int64
}

// Fingerprint stands for a token without revealing it: 16 hex digits.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// UnsupportedDSNError refuses a database this program cannot use.
type UnsupportedDSNError struct{ Scheme string }

func (e *UnsupportedDSNError) Error() string {
	return fmt.Sprintf("the store must be the path of a SQLite file: %s:// is not supported", e.Scheme)
}

// HeldError says that another gateway holds the database.
type HeldError struct{ Path string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("another gateway holds the store %s: nothing was changed; stop it first", e.Path)
}

// FencedError says that another gateway has taken the bot over: this one has to
// stop. Nothing was written.
type FencedError struct{ BotID, Epoch int64 }

func (e *FencedError) Error() string {
	return fmt.Sprintf("another gateway has taken over bot %d: epoch %d is past", e.BotID, e.Epoch)
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

// Open opens or creates the SQLite file at dsn, locks it against other gateways,
// and only then brings its schema up to date. Errors: *UnsupportedDSNError,
// *HeldError while another live process holds the file, *sqldb.Error,
// *sqldb.SchemaError.
func Open(ctx context.Context, dsn string, log *zap.Logger) (*DB, error) {
	if scheme, _, ok := strings.Cut(dsn, "://"); ok {
		return nil, &UnsupportedDSNError{Scheme: scheme}
	}
	lock, err := sqldb.TryLock(dsn + ".lock")
	if errors.Is(err, sqldb.ErrLocked) {
		return nil, &HeldError{Path: dsn}
	}
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	db, err := openLocked(ctx, dsn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the store %s: %w", dsn, err), lock.Unlock())
	}
	return &DB{sql: db, lock: lock, log: log}, nil
}

func openLocked(ctx context.Context, dsn string) (*sqldb.DB, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return sqldb.Open(ctx, dsn, sqldb.Migrations{Files: steps})
}

// Close closes the database and lets another gateway have it.
func (db *DB) Close() error {
	return errors.Join(db.sql.Close(), db.lock.Unlock())
}

// Acquire takes the bot's part of the database, and with it the place of any
// earlier holder, whose writes fail from now on. floor is the next offset of a
// cursor file, used only while the database knows no bot at all; nil: none.
func (db *DB) Acquire(ctx context.Context, bot Bot, floor *int64) (*Store, error) {
	s := &Store{db: db.sql, bot: bot}
	s.group = sqldb.NewGroup(db.sql, s.fence)
	err := db.sql.Write(ctx, func(t *sql.Tx) error {
		q := &tx{Tx: t, bot: bot.ID, now: millis(time.Now())}
		if err := q.welcome(bot, floor); err != nil {
			return err
		}
		return q.row(`INSERT INTO leases (bot_id, epoch, holder, beat, acquired_at) VALUES ($1, 1, $2, 0, $3)
			ON CONFLICT (bot_id) DO UPDATE SET epoch = leases.epoch + 1, holder = excluded.holder,
				acquired_at = excluded.acquired_at
			RETURNING epoch`, bot.ID, uuid.NewString(), q.now).Scan(&s.epoch)
	})
	if err != nil {
		return nil, fmt.Errorf("acquire bot %d: %w", bot.ID, err)
	}
	db.log.Info("this gateway holds the bot", zap.Int64("bot_id", bot.ID), zap.Int64("epoch", s.epoch))
	return s, nil
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
	return q.exec(`INSERT INTO cursors (bot_id, fingerprint, generation, next_offset, committed_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (bot_id, fingerprint) DO NOTHING`,
		bot.ID, bot.Fingerprint, generation, next, committedAt)
}

// Bot is the bot whose part this is.
func (s *Store) Bot() Bot { return s.bot }

// Epoch counts the gateways that have held the bot; this one's number.
func (s *Store) Epoch() int64 { return s.epoch }

// Beat shows that the holder lives, and checks that it still is the holder.
func (s *Store) Beat(ctx context.Context) error {
	return s.write(ctx, func(*tx) error { return nil })
}

// fence opens every write transaction.
func (s *Store) fence(ctx context.Context, t *sql.Tx) error {
	res, err := t.ExecContext(ctx, `UPDATE leases SET beat = beat + 1 WHERE bot_id = $1 AND epoch = $2`, s.bot.ID, s.epoch)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return &FencedError{BotID: s.bot.ID, Epoch: s.epoch}
}

// write runs fn in a fenced transaction; when it returns nil, what fn wrote is
// on the disk.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	return s.group.Write(ctx, func(t *sql.Tx) error {
		return fn(&tx{Tx: t, bot: s.bot.ID, now: millis(time.Now())})
	})
}

// read runs fn on one snapshot.
func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	return s.db.Read(ctx, func(t *sql.Tx) error {
		return fn(&tx{Tx: t, bot: s.bot.ID, now: millis(time.Now())})
	})
}
