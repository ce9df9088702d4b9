package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// errSeen ends a transaction that was only to look.
var errSeen = errors.New("seen")

const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// settle finds out whether a transaction in doubt was committed: nil when it was.
// Its writers could not know whether to go on or to begin again. It asks for as
// long as anybody waits for the answer; without one the doubt remains.
func (g *Group) settle(ctx context.Context, batch []*groupWrite, err error) error {
	if g.did == nil || !InDoubt(err) {
		return err
	}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		committed := false
		looked := g.db.Write(ctx, func(tx *sql.Tx) (err error) {
			if committed, err = g.did(ctx, tx); err != nil {
				return err
			}
			return errSeen
		})
		switch kind := KindOf(looked); {
		case errors.Is(looked, errSeen) && committed:
			return nil
		case errors.Is(looked, errSeen):
			return &Error{Op: "transaction", Kind: Unavailable, Err: errors.Unwrap(err)}
		case kind != Unavailable && kind != Busy:
			return looked
		}
		if !slices.ContainsFunc(batch, func(w *groupWrite) bool { return w.ctx.Err() == nil }) {
			return err
		}
		time.Sleep(pause)
	}
}
