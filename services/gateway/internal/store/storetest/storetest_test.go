package storetest_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFill(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "gateway.db"), t.Context()
	open := func() (*store.DB, *store.Store) {
		db, err := store.Open(ctx, path, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s, err := db.Acquire(ctx, store.Bot{ID: 7}, nil)
		if err != nil {
			t.Fatal(errors.Join(err, db.Close()))
		}
		return db, s
	}
	db, s := open()
	if _, err := s.Ingest(ctx, []store.NewUpdate{{UpdateID: 1, Kind: store.KindPrompt, State: store.Queued, SessionID: "telegram:1", ChatID: 1,
		Digest: "d", Private: true, Text: "hello", Date: time.Now()}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Fill(ctx, path, 2, 9, 3); err != nil {
		t.Fatal(err)
	}
	db, s = open()
	stats, err := s.Stats(ctx)
	if err != nil || stats.Queued != 10 || stats.Cursor.NextOffset != 11 {
		t.Errorf("stats = %+v, %v", stats, err)
	}
	if sessions, err := s.ListSessions(ctx, 100, ""); err != nil || len(sessions) != 3 {
		t.Errorf("sessions = %+v, %v", sessions, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
