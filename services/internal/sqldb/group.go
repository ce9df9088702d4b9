package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"sync"
)

// Group commits the writes of many goroutines together: while one transaction
// is being made durable, the next one gathers everyone who waits. So twenty
// writers pay for one fsync, not for twenty, and a single writer waits for
// nobody. There is no goroutine behind it: whoever comes first commits for all.
type Group struct {
	db    *DB
	open  func(context.Context, *sql.Tx) error
	did   func(context.Context, *sql.Tx) (bool, error)
	lead  chan struct{} // holds a token while a transaction runs
	mu    sync.Mutex
	queue []*groupWrite
}

type groupWrite struct {
	ctx  context.Context // its writer's
	fn   func(*sql.Tx) error
	done chan error // has room for the one result
}

// maxGroup bounds a transaction, so that nobody waits for a crowd.
const maxGroup = 256

// NewGroup returns a group over db. open begins every transaction; when it
// fails, so does every write of the transaction. did, which may be nil, is asked
// in a later transaction whether the last one that open has begun was committed,
// where the answer to that was lost with its connection; it waits for whatever of
// it still goes on at the server.
func NewGroup(db *DB, open func(context.Context, *sql.Tx) error, did func(context.Context, *sql.Tx) (bool, error)) *Group {
	return &Group{db: db, open: open, did: did, lead: make(chan struct{}, 1)}
}

// Write runs fn in a transaction, alone or among others, and returns once it is
// on the disk. When fn fails, what it wrote is undone, and only that. fn may be
// run more than once; only what its last run wrote is kept. A write that has
// begun is not given up when ctx ends; but whether it was done may then remain
// unknown, see InDoubt.
func (g *Group) Write(ctx context.Context, fn func(*sql.Tx) error) error {
	w := &groupWrite{ctx: ctx, fn: fn, done: make(chan error, 1)}
	g.mu.Lock()
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case g.lead <- struct{}{}:
		// Everyone in the queue came earlier or waits with this write; a
		// latecomer leads after it.
		for len(w.done) == 0 {
			g.transact(context.WithoutCancel(ctx), g.take())
		}
		<-g.lead
	case <-ctx.Done():
		if g.withdraw(w) {
			return ctx.Err()
		}
	}
	return <-w.done
}

// withdraw takes back a write that no transaction has taken yet.
func (g *Group) withdraw(w *groupWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, w)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// take returns the writes of the next transaction, oldest first.
func (g *Group) take() []*groupWrite {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.queue), maxGroup)
	batch := g.queue[:n:n]
	g.queue = slices.Clone(g.queue[n:])
	return batch
}

// transact commits a batch. That one of its writes fails is rare, so that they
// run without savepoints, which cost as much as a small write, until one does.
func (g *Group) transact(ctx context.Context, batch []*groupWrite) {
	failed := false
	err := g.db.Write(ctx, func(tx *sql.Tx) error {
		if err := g.open(ctx, tx); err != nil {
			return err
		}
		for _, w := range batch {
			if err := w.fn(tx); err != nil {
				failed = true
				return err
			}
		}
		return nil
	})
	if failed && len(batch) > 1 {
		g.separate(ctx, batch)
		return
	}
	err = g.settle(ctx, batch, err)
	for _, w := range batch {
		w.done <- err
	}
}

// separate commits a batch of which a write has failed: whatever fails again is
// undone alone.
func (g *Group) separate(ctx context.Context, batch []*groupWrite) {
	results := make([]error, len(batch))
	broken := false
	err := g.db.Write(ctx, func(tx *sql.Tx) error {
		if err := g.open(ctx, tx); err != nil {
			return err
		}
		for i, w := range batch {
			var fatal error
			if results[i], fatal = within(ctx, tx, w.fn); fatal != nil {
				broken = true
				return fatal
			}
		}
		return nil
	})
	if broken {
		// The failure of one has taken the transaction with it, as a full disk
		// does; each of the others may still do.
		for _, w := range batch {
			g.transact(ctx, []*groupWrite{w})
		}
		return
	}
	err = g.settle(ctx, batch, err)
	for i, w := range batch {
		if err != nil {
			results[i] = err
		}
		w.done <- results[i]
	}
}

// within runs fn in a savepoint. failed is fn's own error, undone; fatal says
// that the transaction is of no use any more.
func within(ctx context.Context, tx *sql.Tx, fn func(*sql.Tx) error) (failed, fatal error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT w"); err != nil {
		return nil, err
	}
	failed = Wrap("statement", fn(tx))
	if failed != nil {
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT w"); err != nil {
			return nil, failed
		}
	}
	_, fatal = tx.ExecContext(ctx, "RELEASE SAVEPOINT w")
	return failed, fatal
}
