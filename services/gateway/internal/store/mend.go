package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

// damage is what was met of it.
type damage struct {
	once sync.Once
	met  chan struct{}
}

// suspectOf is the file that says that damage of a SQLite file was met: whoever
// opens it next mends it first, for what is damaged may be met again only late.
func suspectOf(path string) string { return path + ".suspect" }

// noteDamage has damage of a SQLite file noted as soon as it is met. A server
// looks after its own files.
func (db *DB) noteDamage(dsn string) {
	db.damage.met = make(chan struct{})
	if sqldb.IsPostgres(dsn) {
		return
	}
	db.sql.OnDamage(func() {
		db.damage.once.Do(func() {
			// Where that fails, too, the next one meets the damage for itself.
			if err := os.WriteFile(suspectOf(dsn), nil, 0o600); err != nil {
				db.log.Warn("that the store is damaged could not be noted", zap.Error(err))
			}
			close(db.damage.met)
		})
	})
}

// Damaged is closed once the SQLite file has turned out to be damaged. Whoever
// serves from it had better end.
func (db *DB) Damaged() <-chan struct{} { return db.damage.met }

// Suspect says whether damage of the SQLite file at dsn was met, and not yet mended.
func Suspect(dsn string) bool {
	if sqldb.IsPostgres(dsn) {
		return false
	}
	_, err := os.Stat(suspectOf(dsn))
	return err == nil
}

// Kept counts the damaged SQLite files that are kept beside the store at dsn.
func Kept(dsn string) int {
	if sqldb.IsPostgres(dsn) {
		return 0
	}
	return sqldb.Kept(dsn)
}

// Mend makes a damaged SQLite file sound again, if not one row of it is lost; see
// sqldb.Mend. It is what a gateway does before it opens the file.
//
// Errors: *HeldError when another gateway serves from the file or stands by;
// *sqldb.Error, of kind Corrupt when rows may be lost: then nothing was changed.
func Mend(ctx context.Context, dsn string, log *zap.Logger) (err error) {
	lock, err := sqldb.TryLock(lockOf(dsn))
	if errors.Is(err, sqldb.ErrLocked) {
		return &HeldError{Name: dsn}
	}
	if err != nil {
		return fmt.Errorf("lock the store: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	mended, err := sqldb.Mend(ctx, dsn, sqldb.Migrations{Files: steps}, time.Now())
	switch {
	case sqldb.KindOf(err) == sqldb.Busy:
		return &HeldError{Name: dsn}
	case err != nil:
		return fmt.Errorf("mend the store %s: %w", dsn, err)
	}
	log.Error("the store was damaged and is mended: every row could be read, nothing is lost; look after the disk",
		zap.Int("rows", mended.Rows), zap.String("kept", mended.Kept))
	if err := os.Remove(suspectOf(dsn)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
