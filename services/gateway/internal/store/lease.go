package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

// DefaultTTL is how long the holder of a bot may be silent before another gateway
// takes its place.
const DefaultTTL = 15 * time.Second

// Terms are how a gateway waits for a bot that another one holds.
type Terms struct {
	// TTL is the same for all gateways of a database; 0: DefaultTTL.
	TTL time.Duration
	// Waiting is called once, when the bot turns out to be held; nil: nobody asks.
	Waiting func()
	// Impatient gives up with *HeldError once the holder has shown that it lives.
	Impatient bool
}

// lease is a bot's row. Only what moves it is compared: a row that another reading
// finds unchanged was not written by its holder meanwhile.
type lease struct {
	epoch, beat int64 // epoch 0: there is no row
	holder      string
	guarded     bool // the holder has the lock on the file
}

// lease reads a bot's row without making the newest schema: the holder may be an
// older program. So no migration may ever take these columns away.
func (db *DB) lease(ctx context.Context, botID int64) (l lease, err error) {
	done, err := db.sql.Schema(ctx, db.migrations)
	if err != nil || done == 0 {
		return l, err
	}
	err = db.sql.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRowContext(ctx, `SELECT epoch, beat, holder, guarded FROM leases WHERE bot_id = $1`, botID).
			Scan(&l.epoch, &l.beat, &l.holder, &l.guarded)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return l, err
}

// Acquire takes the bot's part of the database, and with it the place of any
// earlier holder, alive or not, whose writes fail from now on. floor is the next
// offset of a cursor file, used only while the database knows no bot at all; nil:
// none. Await does the same once the holder is gone.
func (db *DB) Acquire(ctx context.Context, bot Bot, floor *int64) (*Store, error) {
	for {
		seen, err := db.lease(ctx, bot.ID)
		if err != nil {
			return nil, fmt.Errorf("acquire bot %d: %w", bot.ID, err)
		}
		s, err := db.take(ctx, bot, floor, seen, DefaultTTL)
		if !errors.Is(err, errMoved) {
			return s, err
		}
	}
}

// Await acquires the bot as soon as no other gateway holds it: at once when its
// holder has released it or, on SQLite, is dead, which the lock on the file
// proves; else when the holder's beat has stood still for the TTL, by this
// gateway's own monotonic clock. A database that cannot be reached is waited for,
// too, unless Impatient.
//
// Errors: *HeldError, *sqldb.Error, *sqldb.SchemaError, and ctx's.
func (db *DB) Await(ctx context.Context, bot Bot, floor *int64, terms Terms) (*Store, error) {
	if terms.TTL == 0 {
		terms.TTL = DefaultTTL
	}
	w := &wait{DB: db, terms: terms}
	tick := time.NewTicker(min(terms.TTL/10, 500*time.Millisecond))
	defer tick.Stop()
	for {
		seen, free, err := w.look(ctx, bot.ID)
		if err == nil && free {
			var s *Store
			if s, err = db.take(ctx, bot, floor, seen, terms.TTL); err == nil {
				return s, nil
			}
		}
		if err := w.judge(bot.ID, err); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// wait is what a challenger has seen.
type wait struct {
	*DB
	terms Terms
	seen  lease
	since time.Time // when it was first seen so; zero: not yet
	moved bool      // it was seen to change
	told  bool
	lost  bool // the database could not be reached
}

// look reads the lease and says whether it may be taken.
func (w *wait) look(ctx context.Context, botID int64) (lease, bool, error) {
	now := time.Now() // before the reading: what was written after it is younger
	l, err := w.lease(ctx, botID)
	if err != nil {
		return l, false, err
	}
	if w.since.IsZero() || l != w.seen {
		w.moved = !w.since.IsZero()
		w.seen, w.since = l, now
	}
	switch {
	case l.epoch == 0, l.holder == "", l.holder == w.holder:
		return l, true, nil
	case l.guarded:
		free, err := w.guard.take()
		if free || err != nil {
			return l, free, err
		}
	}
	return l, time.Since(w.since) >= w.terms.TTL, nil
}

// judge decides whether a failed try is the last; nil: wait.
func (w *wait) judge(botID int64, err error) error {
	kind := sqldb.KindOf(err)
	gone := kind == sqldb.Unavailable || kind == sqldb.Busy
	switch {
	case err != nil && !errors.Is(err, errMoved) && (!gone || w.terms.Impatient):
		return fmt.Errorf("acquire bot %d: %w", botID, err)
	case gone && !w.lost:
		w.log.Error("the store does not answer: waiting for it", zap.Error(err))
	case err == nil && w.terms.Impatient && w.moved:
		return &HeldError{Name: w.name}
	}
	w.lost = gone
	if !gone && !w.told {
		w.told = true
		w.log.Info("another gateway holds the bot: standing by", zap.Int64("bot_id", botID), zap.Int64("epoch", w.seen.epoch))
		if w.terms.Waiting != nil {
			w.terms.Waiting()
		}
	}
	return nil
}

// errMoved says that the lease was taken, or shown to be held, meanwhile.
var errMoved = errors.New("the lease has moved")

// take brings the schema up to date and takes the lease, if it still is as it was
// seen, in one transaction.
func (db *DB) take(ctx context.Context, bot Bot, floor *int64, seen lease, ttl time.Duration) (*Store, error) {
	guarded, err := db.guard.take()
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, bot: bot, ttl: ttl, guarded: guarded, took: seen.holder != "" && seen.holder != db.holder}
	s.group = sqldb.NewGroup(db.sql, s.fence, s.fenced)
	began := time.Now()
	err = db.sql.Migrate(ctx, db.migrations, func(t *sql.Tx) error {
		q := &tx{Tx: t, bot: bot.ID, now: millis(began)}
		err := q.row(`INSERT INTO leases (bot_id, epoch, holder, beat, guarded, acquired_at) VALUES ($1, 1, $2, 1, $3, $4)
			ON CONFLICT (bot_id) DO UPDATE SET epoch = leases.epoch + 1, holder = excluded.holder, beat = leases.beat + 1,
				guarded = excluded.guarded, acquired_at = excluded.acquired_at
				WHERE leases.epoch = $5 AND leases.beat = $6
			RETURNING epoch, beat`, bot.ID, db.holder, flag(guarded), q.now, seen.epoch, seen.beat).Scan(&s.epoch, &s.beat)
		if errors.Is(err, sql.ErrNoRows) {
			return errMoved
		}
		if err != nil {
			return err
		}
		if err := q.welcome(bot, floor); err != nil {
			return err
		}
		known, err := q.supergroups()
		s.supergroups.add(known...)
		return err
	})
	if err != nil {
		if !db.serves.Load() {
			err = errors.Join(err, db.guard.release())
		}
		return nil, err
	}
	db.serves.Store(true)
	s.confirm(began)
	db.log.Info("this gateway holds the bot", zap.Int64("bot_id", bot.ID), zap.Int64("epoch", s.epoch))
	return s, nil
}

// Beat shows that the holder lives, and checks that it still is the holder.
func (s *Store) Beat(ctx context.Context) error {
	s.leaseMu.Lock()
	known := s.guarded
	s.leaseMu.Unlock()
	guarded, err := known, error(nil)
	if !known {
		// A frozen gateway had the lock when this one took over; it may have gone.
		if guarded, err = s.db.guard.take(); err != nil {
			return err
		}
	}
	err = s.write(ctx, func(q *tx) error {
		if guarded == known {
			return nil
		}
		return q.exec(`UPDATE leases SET guarded = 1 WHERE bot_id = $1`, q.bot)
	})
	if err == nil {
		s.leaseMu.Lock()
		s.guarded = guarded
		s.leaseMu.Unlock()
	}
	return err
}

// Hold makes sure that no other gateway has the bot: what has an effect outside is
// done right after it. It writes only when the last write is so long ago that
// somebody could soon have taken over; a process that was frozen finds out here.
func (s *Store) Hold(ctx context.Context) error {
	if s.Silent() < s.ttl*2/3 {
		return nil
	}
	return s.Beat(ctx)
}

// Silent is how long ago it last was certain that this gateway holds the bot.
func (s *Store) Silent() time.Duration {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	return since(s.confirmed)
}

// since is how long ago a moment was, by whichever clock says longer: the monotonic
// one stands still while the machine sleeps, the other may be set back.
func since(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// confirm notes that the lease was held at a moment.
func (s *Store) confirm(at time.Time) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	if at.After(s.confirmed) {
		s.confirmed = at
	}
}

// Release gives the bot up, so that another gateway need not wait for the TTL.
// Every later write fails.
func (s *Store) Release(ctx context.Context) error {
	return s.write(ctx, func(q *tx) error {
		return q.exec(`UPDATE leases SET epoch = epoch + 1, holder = '', guarded = 0 WHERE bot_id = $1`, q.bot)
	})
}

// fence opens every write transaction. Each try leaves a beat of its own, by which
// fenced knows it again. Only the transaction that runs uses s.beat.
func (s *Store) fence(ctx context.Context, t *sql.Tx) error {
	s.beat++
	res, err := t.ExecContext(ctx, `UPDATE leases SET beat = $3 WHERE bot_id = $1 AND epoch = $2`, s.bot.ID, s.epoch, s.beat)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return &FencedError{BotID: s.bot.ID, Epoch: s.epoch}
}

// fenced says whether the transaction that fence has begun last was committed. The
// update waits for it to end, should it still be under way.
func (s *Store) fenced(ctx context.Context, t *sql.Tx) (bool, error) {
	var beat int64
	err := t.QueryRowContext(ctx, `UPDATE leases SET beat = beat WHERE bot_id = $1 AND epoch = $2 RETURNING beat`,
		s.bot.ID, s.epoch).Scan(&beat)
	if errors.Is(err, sql.ErrNoRows) {
		return false, &FencedError{BotID: s.bot.ID, Epoch: s.epoch}
	}
	return beat == s.beat, err
}

// guard is the lock on a SQLite file, which its holder's death frees at once.
type guard struct {
	path string // empty: a server has no such lock
	mu   sync.Mutex
	lock *sqldb.Lock
}

// take reports whether this process has the lock, and takes it where it is free.
func (g *guard) take() (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lock != nil || g.path == "" {
		return g.lock != nil, nil
	}
	lock, err := sqldb.TryLock(g.path)
	if errors.Is(err, sqldb.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock the store: %w", err)
	}
	g.lock = lock
	return true, nil
}

func (g *guard) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lock == nil {
		return nil
	}
	lock := g.lock
	g.lock = nil
	return lock.Unlock()
}
