package gateway

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

const pageSize = 4096

// indexes are the first pages of all indexes of a SQLite file, by name.
func indexes(t *testing.T, path string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT name, rootpage FROM sqlite_schema WHERE type = 'index'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	pages := map[string]int{}
	for rows.Next() {
		var name string
		var page int
		if err := rows.Scan(&name, &page); err != nil {
			t.Fatal(err)
		}
		pages[name] = page
	}
	if err := rows.Err(); err != nil || len(pages) < 15 {
		t.Fatalf("%d indexes, %v", len(pages), err)
	}
	return pages
}

// supervised runs a gateway anew whenever it ends by itself, until the test ends,
// and returns what it ended with so far.
func supervised(t *testing.T, c Config) (ended func() []error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var errs []error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := Run(ctx, c)
			mu.Lock()
			if ctx.Err() == nil {
				errs = append(errs, err)
			}
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []error { mu.Lock(); defer mu.Unlock(); return errs }
}

// TestAnIndexThatIsDamagedIsMendedWithoutAHand damages each index of a store, one
// at a time and all at once. Whenever that is met, all goes on, and nothing is
// answered twice.
func TestAnIndexThatIsDamagedIsMendedWithoutAHand(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	c := echo(t, sim.URL, out)
	c.Once = true
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "before"})
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(c.Store)
	if err != nil {
		t.Fatal(err)
	}
	pages := indexes(t, c.Store)
	damages := map[string][]int{}
	for name, page := range pages {
		damages[name], damages["all of them"] = []int{page}, append(damages["all of them"], page)
	}
	var mu sync.Mutex
	mended, later := 0, 0
	t.Run("each", func(t *testing.T) {
		for name, pages := range damages {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				kept, errs := servesFrom(t, sound, pages)
				mu.Lock()
				defer mu.Unlock()
				mended += kept
				for _, err := range errs {
					if !errors.Is(err, ErrDamageMet) {
						t.Errorf("it ended with %v", err)
					}
					later++
				}
			})
		}
	})
	if mended < 3 || later < 1 {
		t.Errorf("%d of %d stores were mended, %d of them after they had been served from", mended, len(damages), later)
	}
}

// servesFrom has a gateway serve from a store in which pages are damaged, and
// returns how often it was mended and what the gateway ended with meanwhile.
func servesFrom(t *testing.T, sound []byte, pages []int) (mended int, errs []error) {
	t.Helper()
	sim, out := simulate(t), &lines{}
	c := echo(t, sim.URL, out)
	damaged := append([]byte(nil), sound...)
	for _, page := range pages {
		copy(damaged[(page-1)*pageSize:page*pageSize], strings.Repeat("\x5a", pageSize))
	}
	if err := os.WriteFile(c.Store, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	c.PollInterval = 10 * time.Millisecond
	if err := sim.SetNextUpdateID(200_000_000); err != nil { // beyond what is stored
		t.Fatal(err)
	}
	ended := supervised(t, c)
	for _, text := range []string{"one", "two"} {
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: text})
		eventually(t, "answered: "+text, func() bool {
			messages := sim.Messages(1000)
			return len(messages) > 0 && messages[len(messages)-1].Text == "echo: "+text
		})
	}
	var texts []string
	for _, m := range sim.Messages(1000) {
		texts = append(texts, m.Text)
	}
	// What was being sent when the damage was met is sent again.
	if again := len(texts) - 2; again > len(ended()) || !slices.Equal(slices.Compact(texts), []string{"echo: one", "echo: two"}) {
		t.Errorf("said %q", texts)
	}
	if _, err := os.Stat(c.Store + ".suspect"); err == nil {
		eventually(t, "what was met is mended", func() bool { _, err := os.Stat(c.Store + ".suspect"); return err != nil })
	}
	kept, err := filepath.Glob(c.Store + ".damaged-*Z")
	if err != nil {
		t.Fatal(err)
	}
	return len(kept), ended()
}
