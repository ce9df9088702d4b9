package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

// lookLimit bounds InUse.
const lookLimit = 5 * time.Second

// InUse reports whether a gateway holds the database at dsn: of a SQLite file one
// that lives, of a PostgreSQL database one that has not released its bot. It
// changes nothing.
func InUse(dsn string) (bool, error) {
	if !sqldb.IsPostgres(dsn) {
		return sqldb.Locked(lockOf(dsn))
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	return heldBySomebody(ctx, dsn)
}

func heldBySomebody(ctx context.Context, dsn string) (held bool, err error) {
	db, err := Open(ctx, dsn, zap.NewNop())
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := db.sql.Schema(ctx, db.migrations)
	if err != nil || done == 0 {
		return false, err
	}
	err = db.sql.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRowContext(ctx, `SELECT count(*) > 0 FROM leases WHERE holder <> ''`).Scan(&held)
	})
	return held, err
}
