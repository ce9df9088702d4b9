package store_test

import (
	"net/url"
	"strings"
	"testing"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/pgtest"
)

func TestExamineLooksAndChangesNothing(t *testing.T) {
	t.Parallel()
	dsn := postgres(t)
	examine := func(dsn string, writable bool) {
		t.Helper()
		c, err := store.Examine(t.Context(), dsn)
		if err != nil || c.Writable != writable || !c.Durable {
			t.Errorf("%+v, %v", c, err)
		}
		if strings.Contains(c.Name, pgtest.Password) || c.Name == "" {
			t.Errorf("name %q", c.Name)
		}
	}
	examine(dsn, true)
	if used, err := store.InUse(dsn); used || err != nil {
		t.Errorf("in use: %v, %v", used, err)
	}
	examine(dsn, true) // still without tables
	readOnly, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parameters := readOnly.Query()
	parameters.Set("default_transaction_read_only", "on")
	readOnly.RawQuery = parameters.Encode()
	examine(readOnly.String(), false)

	db, _ := open(t, dsn)
	examine(dsn, true)
	if used, err := store.InUse(dsn); !used || err != nil {
		t.Errorf("in use: %v, %v", used, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func TestExamineOfAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	const dsn = "postgres://user:SECRET@127.0.0.1:1/db"
	if _, err := store.Examine(t.Context(), dsn); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v", err)
	}
	if !store.OnServer(dsn) || store.OnServer("gateway.db") {
		t.Error("files and servers are mixed up")
	}
}
