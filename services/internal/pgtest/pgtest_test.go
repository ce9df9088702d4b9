package pgtest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"telecodex.dev/services/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reach(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS t (n BIGINT)")
	return errors.Join(err, conn.Close(ctx))
}

func TestServerCanBeStoppedAndStartedAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, dir := range []string{os.TempDir(), filepath.Dir(os.TempDir())} {
		if err := os.Chmod(dir, 0o777); err != nil { // the server may be another user's
			t.Fatal(err)
		}
	}
	s := pgtest.New()
	url := s.URL(t)
	for _, crash := range []bool{false, true} {
		if err := reach(t, url); err != nil {
			t.Error(err)
		}
		s.Stop(t, crash)
		if reach(t, url) == nil {
			t.Error("it is still there")
		}
		s.Start(t)
	}
	if err := reach(t, url); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if reach(t, url) == nil {
		t.Error("it is still there")
	}
	if left, err := os.ReadDir(os.TempDir()); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}
