//go:build unix

package gateway

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/internal/telegramsim"
)

// TestAFrozenHolderIsReplacedAndNeitherWritesNorSendsWhenItWakes stops a process
// for longer than the TTL, in the middle of whatever it does.
func TestAFrozenHolderIsReplacedAndNeitherWritesNorSendsWhenItWakes(t *testing.T) {
	const ttl = 3 * time.Second
	both(t, func(t *testing.T, dsn string) {
		sim := simulate(t)
		first := spawn(t, sim, dsn, ttl)
		first.is(t, "serves", serving)
		second := spawn(t, sim, dsn, ttl)
		second.is(t, "stands by", standing)
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "before"})
		eventually(t, "answered", func() bool { return len(sim.Messages(1000)) == 1 })
		// What is sent and not yet marked as sent would be sent again, in doubt.
		first.is(t, "all is marked", func(s *gatewayv1.GetStatusResponse) bool { return s.GetOutboxCount() == 0 && s.GetCursor() > 0 })
		first.freeze(t, dsn)
		frozen := time.Now()
		second.is(t, "serves", serving)
		t.Log(bound.Bound{Unit: "takeover-s", Limit: (ttl + 2*time.Second).Seconds()}.Verdict(time.Since(frozen).Seconds()))
		for i := range 3 {
			sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: fmt.Sprint("meanwhile ", i)})
		}
		eventually(t, "answered", func() bool { return len(sim.Messages(1000)) == 4 })
		if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if last := <-first.ended; !strings.Contains(last, "another gateway has taken over bot 1000000") {
			t.Errorf("it says %q", last)
		}
		if err := first.cmd.Wait(); err == nil {
			t.Error("it ended as if nothing had happened")
		}
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "after"})
		eventually(t, "answered", func() bool { return len(sim.Messages(1000)) >= 5 })
		texts := map[string]int{}
		for _, m := range sim.Messages(1000) {
			texts[m.Text]++
		}
		for text, n := range texts {
			if n != 1 {
				t.Errorf("%q was sent %d times", text, n)
			}
		}
	})
}

// freeze stops the process at a moment when it does not write to a SQLite file:
// the lock that it then had would end only with it.
func (c *child) freeze(t *testing.T, dsn string) {
	t.Helper()
	for {
		if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if sqldb.IsPostgres(dsn) {
			return
		}
		db, err := sqldb.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(db.Write(t.Context(), func(*sql.Tx) error { return nil }), db.Close())
		if err == nil {
			return
		}
		if woken := c.cmd.Process.Signal(syscall.SIGCONT); woken != nil || sqldb.KindOf(err) != sqldb.Busy {
			t.Fatal(err, woken)
		}
	}
}
