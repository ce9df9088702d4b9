package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"telecodex.dev/services/internal/sqldb"
)

// counted is a group that counts its transactions.
func counted(db *sqldb.DB) (*sqldb.Group, *atomic.Int64) {
	n := new(atomic.Int64)
	return sqldb.NewGroup(db, func(context.Context, *sql.Tx) error { n.Add(1); return nil }, nil), n
}

func TestGroupSharesTransactionsAndLosesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	group, transactions := counted(db)
	const writers, each = 20, 50
	refused := errors.New("refused")
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				err := group.Write(t.Context(), func(tx *sql.Tx) error {
					if err := insert(t.Context(), fmt.Sprint(w, i))(tx); err != nil || i%2 == 0 {
						return err
					}
					return refused
				})
				if (i%2 == 0) != (err == nil) || err != nil && !errors.Is(err, refused) {
					t.Errorf("write %d of writer %d: %v", i, w, err)
				}
			}
		})
	}
	wait.Wait()
	if n := count(t, db); n != writers*each/2 {
		t.Errorf("%d rows", n)
	}
	if n := transactions.Load(); n >= writers*each {
		t.Errorf("%d transactions for %d writes", n, writers*each)
	}
}

// gathered runs writes that are sure to share a transaction: the first of them
// holds the writer until all the others wait.
func gathered(t *testing.T, group *sqldb.Group, writes ...func(*sql.Tx) error) []error {
	t.Helper()
	entered, release := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		err := group.Write(t.Context(), func(*sql.Tx) error { close(entered); <-release; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	errs := make([]error, len(writes))
	for i, fn := range writes {
		wait.Go(func() { errs[i] = group.Write(t.Context(), fn) })
	}
	sqldb.AwaitQueue(t.Context(), group, len(writes))
	close(release)
	wait.Wait()
	return errs
}

func TestGroupKeepsOneFailureFromTheOthers(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(*sql.Tx) error{
		"an error of its own": func(tx *sql.Tx) error {
			return errors.Join(insert(t.Context(), "undone")(tx), errors.New("refused"))
		},
		"a statement that fails": func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), "INSERT INTO nowhere VALUES (1)")
			return err
		},
		"a broken transaction": func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), "ROLLBACK")
			return errors.Join(err, errors.New("gone"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
			group, _ := counted(db)
			errs := gathered(t, group, insert(t.Context(), "a"), bad, insert(t.Context(), "b"))
			if errs[0] != nil || errs[1] == nil || errs[2] != nil {
				t.Errorf("errors: %v", errs)
			}
			if n := count(t, db); n != 2 {
				t.Errorf("%d rows", n)
			}
			if err := group.Write(t.Context(), insert(t.Context(), "c")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGroupRunsWritesAgainOnlyWhenOneOfThemFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refused error
		runs    int
	}{"all succeed": {nil, 1}, "one fails": {errors.New("refused"), 2}} {
		t.Run(name, func(t *testing.T) {
			db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
			group, transactions := counted(db)
			var runs atomic.Int64
			var writes []func(*sql.Tx) error
			for i := range 3 {
				writes = append(writes, func(tx *sql.Tx) error {
					runs.Add(1)
					if err := insert(t.Context(), fmt.Sprint(i))(tx); err != nil || i < 2 {
						return err
					}
					return tt.refused
				})
			}
			kept := 3
			for i, err := range gathered(t, group, writes...) {
				if i < 2 && err != nil || i == 2 && !errors.Is(err, tt.refused) {
					t.Errorf("write %d: %v", i, err)
				}
				if err != nil {
					kept--
				}
			}
			// Which write is queued last is not known: those before the one that fails run twice.
			if n := int(runs.Load()); n > 3*tt.runs || n < 3+tt.runs-1 {
				t.Errorf("%d runs", n)
			}
			if n := int(transactions.Load()); n != 1+tt.runs { // the first one is that of the test's holder
				t.Errorf("%d transactions", n)
			}
			if n := count(t, db); n != kept {
				t.Errorf("%d rows of %d", n, kept)
			}
		})
	}
}

func TestGroupFailsAllWhenItsOpeningFails(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	fenced := errors.New("fenced")
	opened := 0
	group := sqldb.NewGroup(db, func(context.Context, *sql.Tx) error {
		if opened++; opened > 1 { // the first transaction is that of the test's holder
			return fenced
		}
		return nil
	}, nil)
	for i, err := range gathered(t, group, insert(t.Context(), "a"), insert(t.Context(), "b")) {
		if !errors.Is(err, fenced) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestGroupWriteIsWithdrawnWhileItWaits(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	group, _ := counted(db)
	entered, release, led := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		led <- group.Write(t.Context(), func(*sql.Tx) error { close(entered); <-release; return nil })
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- group.Write(ctx, insert(t.Context(), "never")) }()
	sqldb.AwaitQueue(t.Context(), group, 1)
	cancel()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Errorf("Write() = %v", err)
	}
	close(release)
	if err := <-led; err != nil {
		t.Error(err)
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestGroupWriteThatHasBegunOutlivesItsContext(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), first)
	group, _ := counted(db)
	ctx, cancel := context.WithCancel(t.Context())
	if err := group.Write(ctx, func(tx *sql.Tx) error {
		cancel()
		return insert(ctx, "x")(tx)
	}); err == nil {
		t.Error("the statement used the context that has ended")
	}
	ctx, cancel = context.WithCancel(t.Context())
	if err := group.Write(ctx, func(tx *sql.Tx) error {
		cancel()
		return insert(t.Context(), "x")(tx)
	}); err != nil {
		t.Error(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}
