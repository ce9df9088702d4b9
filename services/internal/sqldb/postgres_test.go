package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/sqldb"
)

// server is where the tests' PostgreSQL databases are.
var server = pgtest.New()

var (
	firstThere = fstest.MapFS{
		"0001_notes.sql": {Data: []byte("CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL); INSERT INTO notes VALUES (0, '')")},
	}
	secondThere = fstest.MapFS{
		"0001_notes.sql": firstThere["0001_notes.sql"],
		"0002_pins.sql":  {Data: []byte("ALTER TABLE notes ADD COLUMN pinned BIGINT NOT NULL DEFAULT 0")},
	}
)

// fenced is a group whose transactions begin by locking a row, as those of all
// groups do.
func fenced(db *sqldb.DB) *sqldb.Group {
	tries := 0
	return sqldb.NewGroup(db, func(ctx context.Context, tx *sql.Tx) error {
		tries++
		_, err := tx.ExecContext(ctx, "UPDATE notes SET body = $1 WHERE id = 0", fmt.Sprint(tries))
		return err
	}, func(ctx context.Context, tx *sql.Tx) (bool, error) {
		var last string
		err := tx.QueryRowContext(ctx, "UPDATE notes SET body = body WHERE id = 0 RETURNING body").Scan(&last)
		return last == fmt.Sprint(tries), err
	})
}

func note(id int, body string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO notes (id, body) VALUES ($1, $2)", id, body)
		return err
	}
}

func TestPostgresKeepsWhatWasWrittenAndUndoesWhatFailed(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	db := open(t, dsn, firstThere)
	if err := db.Write(t.Context(), note(1, "kept")); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	err := db.Write(t.Context(), func(tx *sql.Tx) error { return errors.Join(note(2, "undone")(tx), refused) })
	if !errors.Is(err, refused) {
		t.Errorf("Write() = %v", err)
	}
	if n := count(t, open(t, dsn, secondThere)); n != 2 {
		t.Errorf("%d rows", n)
	}
	var setting string
	err = db.Write(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SHOW synchronous_commit").Scan(&setting) })
	if err != nil || setting != "on" {
		t.Errorf("synchronous_commit = %s, %v", setting, err)
	}
}

func TestPostgresSessionsAreDurableWhateverTheServersDefault(t *testing.T) {
	t.Parallel()
	for configured, want := range map[string]string{"off": "on", "local": "on", "remote_apply": "remote_apply"} {
		dsn := server.URL(t) + "&synchronous_commit=" + configured
		var setting string
		err := open(t, dsn, firstThere).Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow("SHOW synchronous_commit").Scan(&setting)
		})
		if err != nil || setting != want {
			t.Errorf("%s became %s, %v", configured, setting, err)
		}
	}
}

func TestPostgresRefusesANewerSchema(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	open(t, dsn, secondThere)
	_, err := sqldb.Open(t.Context(), dsn, sqldb.Migrations{Files: firstThere})
	var schema *sqldb.SchemaError
	if !errors.As(err, &schema) || schema.File != 2 || schema.Program != 1 {
		t.Fatalf("Open() = %v", err)
	}
}

func TestPostgresIsMigratedOnceByAllWhoStartAtOnce(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	var wait sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wait.Go(func() {
			db, err := sqldb.Connect(context.Background(), dsn)
			if err == nil {
				// The table of migrations may be lost to another who makes it.
				for err = db.Migrate(context.Background(), sqldb.Migrations{Files: secondThere}, nil); sqldb.KindOf(err) == sqldb.Busy; {
					err = db.Migrate(context.Background(), sqldb.Migrations{Files: secondThere}, nil)
				}
				err = errors.Join(err, db.Close())
			}
			errs[i] = err
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := count(t, open(t, dsn, secondThere)); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestPostgresGroupsWriteOneAtATimeAndLoseNothing(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	const writers, each = 4, 20
	var wait sync.WaitGroup
	for w := range writers {
		group := fenced(open(t, dsn, firstThere)) // as many processes would
		for range 2 {
			wait.Go(func() {
				for range each {
					// Whoever reads the highest number, and adds one, meets whoever did the
					// same meanwhile.
					err := group.Write(t.Context(), func(tx *sql.Tx) error {
						_, err := tx.Exec("INSERT INTO notes (id, body) SELECT max(id) + 1, $1 FROM notes", fmt.Sprint(w))
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wait.Wait()
	if n := count(t, open(t, dsn, firstThere)); n != 1+2*writers*each {
		t.Errorf("%d rows", n)
	}
}

func TestPostgresErrorsHaveKindsAndHoldNoValues(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	db := open(t, dsn, firstThere)
	readOnly := func(tx *sql.Tx) error {
		if _, err := tx.Exec("SET TRANSACTION READ ONLY"); err != nil {
			return err
		}
		return note(1, "x")(tx)
	}
	statement := func(text string, args ...any) func(*sql.Tx) error {
		return func(tx *sql.Tx) error { _, err := tx.Exec(text, args...); return err }
	}
	const value = "a value of somebody"
	for name, tt := range map[string]struct {
		fn   func(*sql.Tx) error
		kind sqldb.Kind
	}{
		"a disk that is full":      {statement("DO $$ BEGIN RAISE EXCEPTION '" + value + "' USING ERRCODE = '53100'; END $$"), sqldb.Full},
		"a page that is damaged":   {statement("DO $$ BEGIN RAISE EXCEPTION '" + value + "' USING ERRCODE = 'XX001'; END $$"), sqldb.Corrupt},
		"a disk that fails":        {statement("DO $$ BEGIN RAISE EXCEPTION 'could not read' USING ERRCODE = '58030'; END $$"), sqldb.IO},
		"a server that goes down":  {statement("DO $$ BEGIN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P03'; END $$"), sqldb.Unavailable},
		"a lock that is not free":  {statement("DO $$ BEGIN RAISE EXCEPTION 'lock timeout' USING ERRCODE = '55P03'; END $$"), sqldb.Busy},
		"a transaction that reads": {readOnly, sqldb.ReadOnly},
		"a key that is taken":      {func(tx *sql.Tx) error { return errors.Join(note(7, value)(tx), note(7, value)(tx)) }, sqldb.Other},
		"a number that is none":    {statement("SELECT CAST(CAST($1 AS TEXT) AS BIGINT)", value), sqldb.Other},
		"a text with NUL":          {note(8, value+"\x00"), sqldb.Other},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Write(t.Context(), tt.fn)
			var failed *sqldb.Error
			if !errors.As(err, &failed) || failed.Kind != tt.kind {
				t.Errorf("Write() = %v", err)
			}
			if tt.kind != sqldb.Full && err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), value) {
				t.Errorf("the error holds a value: %v", err)
			}
		})
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestPostgresErrorsNeverHoldThePassword(t *testing.T) {
	t.Parallel()
	const secret = "not:this%20one"
	reachable, err := url.Parse(server.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*url.URL){
		"wrong password":        func(u *url.URL) { u.User = url.UserPassword("postgres", secret) },
		"unknown user":          func(u *url.URL) { u.User = url.UserPassword("nobody", secret) },
		"unknown database":      func(u *url.URL) { u.Path = "/none" },
		"nobody listens":        func(u *url.URL) { u.User, u.Host = url.UserPassword("postgres", secret), "127.0.0.1:1" },
		"a parameter of no use": func(u *url.URL) { u.User, u.RawQuery = url.UserPassword("postgres", secret), "sslmode=perhaps" },
	} {
		t.Run(name, func(t *testing.T) {
			target := *reachable
			change(&target)
			_, err := sqldb.Open(t.Context(), target.String(), sqldb.Migrations{Files: firstThere})
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
				for _, secret := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), pgtest.Password, url.QueryEscape(pgtest.Password)} {
					if strings.Contains(text, secret) {
						t.Errorf("the password is in %s", text)
					}
				}
			}
		})
	}
	for _, text := range []string{"postgres://user:SEC RET@host/db", "postgres://user:SECRET@host:port/db", "postgres://user:SECRET@[::1/db", "postgres://%zz:SECRET@h/d"} {
		if err := sqldb.CheckTarget(text); err == nil || strings.Contains(err.Error(), "SEC") {
			t.Errorf("CheckTarget(%s) = %v", text, err)
		}
		if name := sqldb.Name(text); strings.Contains(name, "SEC") {
			t.Errorf("Name(%s) = %s", text, name)
		}
	}
	if name := sqldb.Name("postgres://ada:SECRET@db:5432/telecodex?password=SECRET"); name != "postgres://ada@db:5432/telecodex" {
		t.Errorf("Name() = %s", name)
	}
}

func TestPostgresRefusesADatabaseOfAnotherEncoding(t *testing.T) {
	t.Parallel()
	dsn := server.URL(t)
	server.Exec(t, "DROP DATABASE IF EXISTS latin")
	server.Exec(t, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = "/latin"
	_, err = sqldb.Open(t.Context(), target.String(), sqldb.Migrations{Files: firstThere})
	if err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("Connect() = %v", err)
	}
}

func TestPostgresThatIsRestartedIsFoundAgain(t *testing.T) {
	t.Parallel()
	own := pgtest.New()
	defer own.Close()
	dsn := own.URL(t)
	db := open(t, dsn, firstThere)
	group := fenced(db)
	for i, crash := range []bool{false, true} {
		if err := group.Write(t.Context(), note(i+1, "before")); err != nil {
			t.Fatal(err)
		}
		own.Stop(t, crash)
		for range 3 {
			if err := group.Write(t.Context(), note(100, "meanwhile")); sqldb.KindOf(err) != sqldb.Unavailable {
				t.Errorf("Write() = %v", err)
			}
		}
		own.Start(t)
		if n := count(t, db); n != i+2 {
			t.Errorf("%d rows", n)
		}
	}
	if err := group.Write(t.Context(), note(3, "after")); err != nil {
		t.Error(err)
	}
}
