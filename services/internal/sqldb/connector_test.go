package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"testing"
)

// lateConnector's connections begin a transaction, and then say that its context
// has ended. So does the driver where the context ends just when BEGIN is done.
type lateConnector struct {
	connector
	late *bool
}

func (c lateConnector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	base := opened.(*conn)
	base.sqliteConn = lateConn{base.sqliteConn, c}
	return base, nil
}

type lateConn struct {
	sqliteConn
	connector lateConnector
}

func (c lateConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil || query != c.connector.begin {
		return stmt, err
	}
	return lateStmt{stmt, c.connector.late}, nil
}

type lateStmt struct {
	driver.Stmt
	late *bool
}

func (s lateStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err == nil && *s.late {
		return nil, context.Canceled
	}
	return result, err
}

func TestATransactionWhoseBeginningIsGivenUpTooLateIsNotLeftOpen(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"BEGIN IMMEDIATE", "BEGIN DEFERRED"} {
		t.Run(begin, func(t *testing.T) {
			late := true
			pool := sql.OpenDB(lateConnector{connector{dsn: dsn(filepath.Join(t.TempDir(), "a.db")), begin: begin}, &late})
			pool.SetMaxOpenConns(1)
			defer func() {
				if err := pool.Close(); err != nil {
					t.Error(err)
				}
			}()
			nothing := func(*sql.Tx) error { return nil }
			if err := transact(t.Context(), pool, nil, nothing); !errors.Is(err, context.Canceled) {
				t.Fatalf("the beginning was not given up: %v", err)
			}
			late = false
			if err := transact(t.Context(), pool, nil, nothing); err != nil {
				t.Errorf("the connection is of no use any more: %v", err)
			}
		})
	}
}
