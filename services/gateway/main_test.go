package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childStore) != "" {
		os.Exit(beChild())
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(server.Exit))
}

// server is where the tests' PostgreSQL databases are.
var server = pgtest.New()

// both runs a test on either kind of store, which is empty.
func both(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Parallel()
	for name, place := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return filepath.Join(t.TempDir(), "gateway.db") },
		"postgres": server.URL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, place(t))
		})
	}
}
