package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"sync/atomic"
	"testing"

	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/sqldb"
)

// throughWire is the server's address, by way of a wire that breaks at the next commit
// once cut says how.
func throughWire(t *testing.T, dsn string) (through string, wire *pgtest.Wire, cut *atomic.Int32) {
	t.Helper()
	cut = &atomic.Int32{}
	through, wire = pgtest.Through(t, dsn, func(_ *pgtest.Wire, message []byte) pgtest.Cut {
		if !bytes.Contains(message, []byte("commit\x00")) {
			return pgtest.Whole
		}
		return pgtest.Cut(cut.Swap(int32(pgtest.Whole)))
	})
	return through, wire, cut
}

func TestACommitWhoseAnswerIsLostIsAskedAbout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cut  pgtest.Cut
		kept bool
	}{"it was carried out": {pgtest.After, true}, "it was not": {pgtest.Before, false}} {
		t.Run(name, func(t *testing.T) {
			dsn, _, cut := throughWire(t, server.URL(t))
			db := open(t, dsn, firstThere)
			group := fenced(db)
			if err := group.Write(t.Context(), note(1, "a")); err != nil {
				t.Fatal(err)
			}
			cut.Store(int32(tt.cut))
			err := group.Write(t.Context(), note(2, "b"))
			if (err == nil) != tt.kept || sqldb.InDoubt(err) || err != nil && sqldb.KindOf(err) != sqldb.Unavailable {
				t.Errorf("Write() = %v", err)
			}
			want := 2
			if tt.kept {
				want = 3
			}
			if n := count(t, db); n != want {
				t.Errorf("%d rows", n)
			}
			if err := group.Write(t.Context(), note(3, "c")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACommitRemainsInDoubtOnceNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	dsn, wire, cut := throughWire(t, server.URL(t))
	group := fenced(open(t, dsn, firstThere))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := group.Write(ctx, func(tx *sql.Tx) error {
		defer cancel()
		cut.Store(int32(pgtest.Before))
		wire.Shut()
		return note(1, "a")(tx)
	})
	if !sqldb.InDoubt(err) {
		t.Errorf("Write() = %v", err)
	}
}
