package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/internal/sqldb"
)

// everything is what lies in the directory of a mailbox, by name.
func (m mailbox) everything() map[string]string {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(m.path))
	if err != nil {
		m.t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(m.path), entry.Name()))
		if err != nil {
			m.t.Fatal(err)
		}
		all[entry.Name()] = string(content)
	}
	return all
}

func TestLookFindsWhatCannotBeOpenedAndChangesNothing(t *testing.T) {
	t.Parallel()
	version := func(n int32) func(mailbox) {
		return func(m mailbox) {
			content := m.read()
			binary.BigEndian.PutUint32(content[60:], uint32(n))
			m.write(content)
		}
	}
	for name, tt := range map[string]struct {
		change       func(mailbox)
		newer, none  bool
		damage, well bool
	}{
		"sound":             {change: func(mailbox) {}, well: true},
		"missing":           {change: func(m mailbox) { _ = os.Remove(m.path) }, well: true},
		"empty":             {change: func(m mailbox) { m.write(nil) }, well: true},
		"of an older one":   {change: version(1), well: true},
		"of a newer one":    {change: version(9999), newer: true},
		"of no version":     {change: version(-1), damage: true},
		"text":              {change: func(m mailbox) { m.write([]byte("SECRET text, and no database")) }, damage: true, none: true},
		"a page of letters": {change: func(m mailbox) { m.overwrite(middle(m.pages("letters", 13)), 0, 0x5a) }, damage: true},
		"cut off":           {change: func(m mailbox) { m.write(m.read()[:20*pageSize]) }, damage: true},
		"the schema":        {change: func(m mailbox) { m.write(bytes.ReplaceAll(m.read(), []byte("CREATE"), []byte("SECRET"))) }, damage: true},
		"overwritten":       {change: func(m mailbox) { m.write(bytes.Repeat([]byte{0xa7}, 40*pageSize)) }, damage: true, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMailbox(t)
			tt.change(m)
			before := m.everything()
			whole, err := sqldb.Look(t.Context(), m.path, sqldb.Migrations{Files: letters})
			newer := (*sqldb.SchemaError)(nil)
			if whole != tt.well || (err == nil) != tt.well || errors.As(err, &newer) != tt.newer ||
				(sqldb.KindOf(err) == sqldb.Corrupt) != tt.damage || errors.Is(err, sqldb.ErrNoDatabase) != tt.none {
				t.Errorf("%v, %v", whole, err)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("it tells what stands in the file: %v", err)
			}
			for name, content := range m.everything() {
				if before[name] != content {
					t.Errorf("%s is not what it was", name)
				}
			}
		})
	}
}

// TestLookSeesWhatOnlyTheLogHolds looks at a database that is in use, and at what a
// crash left of it.
func TestLookSeesWhatOnlyTheLogHolds(t *testing.T) {
	t.Parallel()
	m := mailbox{t, filepath.Join(t.TempDir(), "x.db")}
	db, err := sqldb.Open(t.Context(), m.path, sqldb.Migrations{Files: letters})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	look := func(path string) {
		t.Helper()
		if whole, err := sqldb.Look(t.Context(), path, sqldb.Migrations{Files: letters}); !whole || err != nil {
			t.Errorf("%v, %v", whole, err)
		}
	}
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		look(m.path) // it waits for nobody, and nobody for it
		_, err := tx.ExecContext(t.Context(), "PRAGMA user_version = 9999")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	left := mailbox{t, filepath.Join(t.TempDir(), "x.db")}
	for name, content := range m.everything() {
		if err := os.WriteFile(filepath.Join(filepath.Dir(left.path), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := left.everything()
	for _, path := range []string{m.path, left.path} {
		whole, err := sqldb.Look(t.Context(), path, sqldb.Migrations{Files: letters})
		if _, newer := errors.AsType[*sqldb.SchemaError](err); whole || !newer {
			t.Errorf("%s: %v, %v", path, whole, err)
		}
	}
	for _, part := range []string{"x.db", "x.db-wal"} {
		if after := left.everything(); after[part] != before[part] || after[part] == "" {
			t.Errorf("%s is not what it was", part)
		}
	}
}

func TestLookHasABound(t *testing.T) {
	t.Parallel()
	m := newMailbox(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if whole, err := sqldb.Look(ctx, m.path, sqldb.Migrations{Files: letters}); whole || err != nil {
		t.Errorf("%v, %v", whole, err)
	}
}
