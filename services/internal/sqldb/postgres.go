package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// IsPostgres reports whether a target is the URL of a PostgreSQL database, and
// not the path of a SQLite file.
func IsPostgres(target string) bool {
	return strings.HasPrefix(target, "postgres://") || strings.HasPrefix(target, "postgresql://")
}

// Name is a target as it may be shown to anybody: the path of a file, or a URL
// without password and parameters.
func Name(target string) string {
	if !IsPostgres(target) {
		return target
	}
	u, err := url.Parse(target)
	if err != nil {
		return "postgres://…"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if name := u.User.Username(); name != "" {
		shown.User = url.User(name)
	}
	return shown.String()
}

// TargetError refuses the URL of a database. It never repeats it: it holds a
// password.
type TargetError struct{ Reason string }

func (e *TargetError) Error() string { return "the PostgreSQL URL cannot be used: " + e.Reason }

// CheckTarget says whether a target can be opened as far as its text goes:
// *TargetError.
func CheckTarget(target string) error {
	if !IsPostgres(target) {
		return nil
	}
	_, err := postgresConfig(target)
	return err
}

func postgresConfig(target string) (*pgx.ConnConfig, error) {
	if _, err := url.Parse(target); err != nil {
		return nil, &TargetError{"it is no URL; what is special in a user name or password must be percent-encoded"}
	}
	config, err := pgx.ParseConfig(target)
	if err != nil {
		reason := "check host, port, database and parameters (sslmode=…)"
		// The driver's text quotes the URL; that of a file which cannot be read (a
		// certificate) does not.
		if file, ok := errors.AsType[*fs.PathError](err); ok {
			reason = file.Error()
		}
		return nil, &TargetError{reason}
	}
	return config, nil
}

// Limits that keep a peer who is gone from holding up those who are there.
const (
	// transactionLimit bounds a transaction, whatever the network does.
	transactionLimit = 30 * time.Second
	connectLimit     = 5 * time.Second
)

// sessionSettings is what our sessions need of the server. A commit is on its
// disk before it returns, unless more than that is configured. A client that is
// frozen or gone, in the middle of a transaction, gives up its locks to whoever
// takes its place.
const sessionSettings = `SELECT set_config('synchronous_commit', 'on', false)
		WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
	SET idle_in_transaction_session_timeout = '5s';
	SET lock_timeout = '10s'`

func connectPostgres(target string) (*DB, error) {
	config, err := postgresConfig(target)
	if err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectLimit
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "telecodex"
	}
	pool := func(conns int) *sql.DB {
		opened := sql.OpenDB(sessions{stdlib.GetConnector(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
				return &TargetError{fmt.Sprintf("the database's encoding is %s; create it with ENCODING 'UTF8'", encoding)}
			}
			_, err := conn.PgConn().Exec(ctx, sessionSettings).ReadAll()
			return err
		}))})
		opened.SetMaxOpenConns(conns)
		opened.SetMaxIdleConns(conns)
		return opened
	}
	db := &DB{writer: pool(1), reader: pool(readers()), schema: tableSchema{}, limit: transactionLimit,
		// A transaction of a group of writers begins by locking a row that all of
		// them lock, and each statement sees what was committed before it: that
		// is one writer at a time. A stricter level would fail whoever waited.
		writes: &sql.TxOptions{Isolation: sql.LevelReadCommitted},
		reads:  &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}}
	return db, nil
}

// tableSchema counts migrations in a table of one row.
type tableSchema struct{}

const (
	hasSteps  = `SELECT to_regclass('schema_steps') IS NOT NULL`
	makeSteps = `CREATE TABLE IF NOT EXISTS schema_steps (id BIGINT NOT NULL PRIMARY KEY, done BIGINT NOT NULL);
		INSERT INTO schema_steps (id, done) VALUES (1, 0) ON CONFLICT (id) DO NOTHING`
)

func (tableSchema) done(ctx context.Context, tx *sql.Tx) (n int, err error) {
	var has bool
	if err := tx.QueryRowContext(ctx, hasSteps).Scan(&has); err != nil || !has {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, `SELECT done FROM schema_steps WHERE id = $1`, 1).Scan(&n)
	return n, err
}

// lock makes the row where it is missing, and holds it until the transaction
// ends: whoever else is about to migrate waits here. Of two that make the table at
// once one fails in the catalog, as Busy.
func (s tableSchema) lock(ctx context.Context, tx *sql.Tx) (n int, err error) {
	if n, err = s.done(ctx, tx); err == nil && n == 0 {
		if _, err = tx.ExecContext(ctx, makeSteps); err != nil {
			return 0, lostToAnother(err)
		}
	}
	if err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, `SELECT done FROM schema_steps WHERE id = $1 FOR UPDATE`, 1).Scan(&n)
	return n, err
}

// lostToAnother makes what is no error of the statement a matter of waiting.
func lostToAnother(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	// unique_violation, duplicate_table, duplicate_object (the table's type)
	if !ok || !slices.Contains([]string{"23505", "42P07", "42710"}, refused.Code) {
		return err
	}
	return &Error{Op: "statement", Kind: Busy, Err: errors.New("another program makes the schema")}
}

func (tableSchema) set(ctx context.Context, tx *sql.Tx, n int) error {
	_, err := tx.ExecContext(ctx, `UPDATE schema_steps SET done = $2 WHERE id = $1`, 1, n)
	return err
}

// sessions are connections whose statements end with their transaction's context.
type sessions struct{ driver.Connector }

func (c sessions) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := opened.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(errors.New("the PostgreSQL driver's connections are not what they were"), opened.Close())
	}
	return &session{Conn: conn}, nil
}

// session bounds statements that were given no bound: a server that is silent
// must not hold them for ever. database/sql uses it from one goroutine at a time.
type session struct {
	*stdlib.Conn
	tx context.Context // of the last transaction
}

func (s *session) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	s.tx = ctx
	return s.Conn.BeginTx(ctx, options)
}

func (s *session) bound(ctx context.Context) context.Context {
	if ctx.Done() == nil && s.tx != nil {
		return s.tx
	}
	return ctx
}

// ExecContext implements driver.ExecerContext.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return s.Conn.ExecContext(s.bound(ctx), query, args)
}

// QueryContext implements driver.QueryerContext.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return s.Conn.QueryContext(s.bound(ctx), query, args)
}
