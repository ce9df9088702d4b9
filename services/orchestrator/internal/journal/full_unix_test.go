//go:build unix

package journal_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// TestWriteRefusedBySystemLeavesTheJournalUsable meets the refusal in the middle
// of the write-ahead log, where a limit of pages does not.
func TestWriteRefusedBySystemLeavesTheJournalUsable(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	r, log := accept(t, j, "t1")
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 256 << 10
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	events := texts("t1", 1, 10, 60_000)
	err := commit(log, events, journal.Update{})
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if kind := sqldb.KindOf(err); kind != sqldb.ReadOnly && kind != sqldb.Full {
		t.Errorf("the commit that did not fit: %v", err)
	}
	wait(t, log, events, journal.Update{})
	if n := len(readAll(t, j, r.Row, 0)); n != 10 {
		t.Errorf("%d events", n)
	}
}
