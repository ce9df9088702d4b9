package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"

	"modernc.org/sqlite"
)

// connector opens connections without a registered driver name, so that the
// package depends on no global state but the driver itself.
type connector struct {
	dsn   string
	begin string // the statement that begins a transaction
}

func (c connector) Connect(context.Context) (driver.Conn, error) {
	opened, err := (&sqlite.Driver{}).Open(c.dsn)
	if err != nil {
		return nil, err
	}
	base, ok := opened.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks an interface"), opened.Close())
	}
	return &conn{sqliteConn: base, begin: c.begin, idle: map[string]driver.Stmt{}}, nil
}

func (c connector) Driver() driver.Driver { return &sqlite.Driver{} }

// sqliteConn is what database/sql uses of the driver's connections.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// conn keeps the statements it has seen prepared: half of the time of a small
// transaction went into parsing the same few texts again. database/sql uses a
// connection, and closes its rows, from one goroutine at a time.
type conn struct {
	sqliteConn
	begin string
	idle  map[string]driver.Stmt // by text; one that is in use is not among them
}

// maxIdle bounds the statements kept: programs have fewer texts than that.
const maxIdle = 256

func (c *conn) take(ctx context.Context, query string) (driver.Stmt, error) {
	if stmt, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return stmt, nil
	}
	return c.PrepareContext(ctx, query)
}

// give puts a statement back, unless it failed, the same text was in use twice,
// or there are too many.
func (c *conn) give(query string, stmt driver.Stmt, failed error) error {
	if _, twice := c.idle[query]; twice || failed != nil || len(c.idle) >= maxIdle {
		return stmt.Close()
	}
	c.idle[query] = stmt
	return nil
}

// ExecContext makes database/sql run statements here instead of preparing them.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	return result, errors.Join(err, c.give(query, stmt, err))
}

// QueryContext does the same for queries.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, c.give(query, stmt, err))
	}
	return &rows{Rows: found, conn: c, query: query, stmt: stmt}, nil
}

// BeginTx begins a transaction as the pool's transactions begin; there are no
// others, so that the options have nothing to say.
func (c *conn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if _, err := c.ExecContext(ctx, c.begin, nil); err != nil {
		// Where ctx ended just then, the driver reports that and not that the
		// transaction has begun. The connection goes back to the pool, and with an
		// open transaction it would be of no use to anyone ever again.
		_ = transaction{c}.Rollback()
		return nil, err
	}
	return transaction{c}, nil
}

// transaction ends what BeginTx began.
type transaction struct{ conn *conn }

func (t transaction) Commit() error {
	_, err := t.conn.ExecContext(context.Background(), "COMMIT", nil)
	if err != nil {
		// A commit that failed may have left the transaction open, and the
		// connection goes back to the pool.
		_ = t.Rollback()
	}
	return err
}

func (t transaction) Rollback() error {
	_, err := t.conn.ExecContext(context.Background(), "ROLLBACK", nil)
	return err
}

// Close closes the statements with their connection.
func (c *conn) Close() error {
	var errs []error
	for _, stmt := range c.idle {
		errs = append(errs, stmt.Close())
	}
	clear(c.idle)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// rows give their statement back once they are closed.
type rows struct {
	driver.Rows
	conn  *conn
	query string
	stmt  driver.Stmt
}

func (r *rows) Close() error {
	if r.stmt == nil {
		return nil
	}
	err := r.Rows.Close()
	err = errors.Join(err, r.conn.give(r.query, r.stmt, err))
	r.stmt = nil
	return err
}
