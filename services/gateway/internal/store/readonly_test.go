package store_test

import (
	"errors"
	"strings"
	"testing"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/sqldb"
)

func TestADiskThatBecomesReadOnlyIsNamedAndLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqlite)
	ctx := t.Context()
	d.ingest(prompt(1, "before"))
	d.must(d.Assign(ctx, turnID(1, 1), worker, "j", ""))
	d.must(d.db.ReadOnly(ctx))
	for name, err := range map[string]error{
		"intake": second(d.Ingest(ctx, []store.NewUpdate{prompt(2, "meanwhile")}, began)),
		"step":   d.Accept(ctx, turnID(1, 1), "j"),
		"end":    second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("x"))),
		"beat":   d.Beat(ctx),
	} {
		var failed *sqldb.Error
		if !errors.As(err, &failed) || failed.Kind != sqldb.ReadOnly || !strings.Contains(err.Error(), "not writable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if stats, err := d.Stats(ctx); err != nil || stats.Running != 1 || stats.Cursor.NextOffset != 2 {
		t.Errorf("what is stored: %+v, %v", stats, err)
	}
	d.reopen()
	d.must(d.Accept(ctx, turnID(1, 1), "j"))
	d.must(second(d.Finish(ctx, turnID(1, 1), store.Outcome{Name: "succeeded"}, answer("x"))))
	if in := d.ingest(prompt(2, "meanwhile")); len(in.New) != 1 {
		t.Errorf("what came meanwhile: %+v", in)
	}
}
