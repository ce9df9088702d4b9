package journal

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"telecodex.dev/services/internal/sqldb"
)

// gatherBytes bounds what may wait for the next commit. Beyond it appends block,
// which is the only thing that ever slows Codex's output down.
const gatherBytes = 4 << 20

// committer groups writes into transactions. One goroutine commits; everybody
// else adds to the batch that gathers meanwhile.
type committer struct {
	db   *sqldb.DB
	done chan struct{}

	mu      sync.Mutex
	changed sync.Cond // the batch got its first write, was taken, or closed was set
	next    *batch
	closed  bool
}

// batch is what one transaction writes.
type batch struct {
	calls   []*call
	appends []*pending
	bytes   int
}

// call is a write of one statement or few, other than an append.
type call struct {
	apply func(*sql.Tx) error
	err   error // of this call alone
	done  func(error)
}

func newCommitter(db *sqldb.DB) *committer {
	c := &committer{db: db, done: make(chan struct{}), next: &batch{}}
	c.changed.L = &c.mu
	go c.run()
	return c
}

// close commits what has gathered and joins the goroutine.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	<-c.done
}

func (c *committer) run() {
	defer close(c.done)
	for b := c.take(); b != nil; b = c.take() {
		b.finish(c.db.Write(context.Background(), b.write))
	}
}

// take waits for a batch that is not empty; nil means that none will come.
func (c *committer) take() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next.empty() {
		if c.closed {
			return nil
		}
		c.changed.Wait()
	}
	b := c.next
	c.next = &batch{}
	for _, p := range b.appends {
		p.log.gathering = nil
	}
	c.changed.Broadcast()
	return b
}

// gather calls add with the gathering batch once there is room in it.
func (c *committer) gather(add func(*batch)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next.bytes >= gatherBytes && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return ErrClosed
	}
	if c.next.empty() {
		c.changed.Broadcast()
	}
	add(c.next)
	return nil
}

// call writes in the next transaction and returns after its commit. An error of
// apply that is not the database's is this call's alone: the others of the batch
// are committed, and so is what apply wrote before it.
func (c *committer) call(apply func(*sql.Tx) error) error {
	result := make(chan error, 1)
	err := c.gather(func(b *batch) {
		b.calls = append(b.calls, &call{apply: apply, done: func(err error) { result <- err }})
	})
	if err != nil {
		return err
	}
	return <-result
}

func (b *batch) empty() bool { return len(b.calls) == 0 && len(b.appends) == 0 }

func (b *batch) write(tx *sql.Tx) error {
	for _, call := range b.calls {
		call.err = sqldb.Wrap("statement", call.apply(tx))
		var failure *sqldb.Error
		if errors.As(call.err, &failure) {
			return call.err
		}
	}
	return writeAppends(tx, b.appends)
}

// finish tells everyone who waits what became of the transaction.
func (b *batch) finish(err error) {
	for _, call := range b.calls {
		if err != nil {
			call.err = err
		}
		call.done(call.err)
	}
	for _, p := range b.appends {
		p.finish(err)
	}
}
