//go:build real

package real_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/e2e/internal/responses"
)

func TestMain(m *testing.M) {
	if os.Getenv(mcpVariable) != "" {
		if err := serveMCP(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func startProvider(t *testing.T, book responses.Book) *responses.Provider {
	t.Helper()
	provider, err := responses.Start(book)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
	})
	return provider
}
