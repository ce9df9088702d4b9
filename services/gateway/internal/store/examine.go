package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/sqldb"
)

// OnServer reports whether dsn names a PostgreSQL database, and not a file.
func OnServer(dsn string) bool { return sqldb.IsPostgres(dsn) }

// Condition is how a PostgreSQL database was found.
type Condition struct {
	Name     string // as anybody may see it
	Writable bool   // this user may write the store there
	Durable  bool   // what is committed outlasts a crash of the server's machine
}

// Examine looks at a PostgreSQL database and changes nothing. Errors are those of
// Open, and *sqldb.SchemaError when it belongs to a newer program.
func Examine(ctx context.Context, dsn string) (c Condition, err error) {
	db, err := Open(ctx, dsn, zap.NewNop())
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := db.sql.Schema(ctx, db.migrations)
	if err != nil {
		return c, err
	}
	// The store's tables are made at the first start.
	may := `has_schema_privilege(current_schema(), 'CREATE')`
	if done > 0 {
		may = `has_table_privilege('updates', 'INSERT') AND has_table_privilege('leases', 'UPDATE')`
	}
	c.Name = db.name
	err = db.sql.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRowContext(ctx, `SELECT COALESCE(`+may+`, false) AND NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off',
			current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'`).Scan(&c.Writable, &c.Durable)
	})
	return c, err
}

// Look looks whether a gateway could open the SQLite file at path, as sqldb.Look does,
// for as long as no gateway would mind.
func Look(ctx context.Context, path string) (whole bool, err error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return false, fmt.Errorf("read the migrations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sqldb.LookLimit)
	defer cancel()
	return sqldb.Look(ctx, path, sqldb.Migrations{Files: steps})
}
