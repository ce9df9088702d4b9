package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// undone waits until a transaction's context has undone it, and returns what the
// next statement says.
func undone(t *testing.T, tx *sql.Tx) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for t.Context().Err() == nil {
		if _, err := tx.Exec("SELECT 1"); err != nil {
			return err
		}
		<-tick.C
	}
	return t.Context().Err()
}

// A process that is stopped for a while, or a slow writer, finds its transaction
// undone when it comes to the next statement.
func TestATransactionThatIsUndoneBetweenTwoStatementsSaysWhy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	db := &DB{writer: connect(path, "BEGIN IMMEDIATE", 1), reader: connect(path, "BEGIN DEFERRED", 1)}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, next := range map[string]func(*sql.Tx) error{
		"another statement": func(tx *sql.Tx) error { return undone(t, tx) },
		"the commit":        func(tx *sql.Tx) error { _ = undone(t, tx); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			db.limit = 10 * time.Millisecond
			for begun := false; !begun; { // on a busy machine it may pass before
				err := db.Write(t.Context(), func(tx *sql.Tx) error { begun = true; return next(tx) })
				if KindOf(err) != Unavailable {
					t.Errorf("after the limit: %v", err)
				}
			}
			db.limit = 0
			ctx, cancel := context.WithCancel(t.Context())
			err := db.Write(ctx, func(tx *sql.Tx) error { cancel(); return next(tx) })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after it was given up: %v", err)
			}
		})
	}
}

// Who gives up a transaction while its connection is made has not lost the server.
func TestATransactionThatIsGivenUpWhileItConnectsSaysSo(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	db, err := Connect(t.Context(), "postgres://somebody@"+silent.Addr().String()+"/there?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := silent.Accept()
		cancel() // before the connection ends
		if err == nil {
			_ = conn.Close()
		}
	}()
	err = db.Read(ctx, func(*sql.Tx) error { return nil })
	if !errors.Is(err, context.Canceled) || KindOf(err) == Unavailable {
		t.Errorf("it says %v", err)
	}
}
