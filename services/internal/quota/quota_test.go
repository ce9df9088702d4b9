package quota

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// burst begins calls at once and says how many were let in.
func burst(c *Clients, client string, calls int) (ends []func(), retry time.Duration) {
	for range calls {
		end, after, ok := c.Begin(client)
		if !ok {
			retry = after
			continue
		}
		ends = append(ends, end)
	}
	return ends, retry
}

func TestCallsASecondAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Limits{Rate: 10})
		ends, retry := burst(c, "a", 50)
		if len(ends) != 20 || retry != 100*time.Millisecond {
			t.Errorf("let in %d, the next after %v", len(ends), retry)
		}
		time.Sleep(retry / 2)
		if ends, _ := burst(c, "a", 1); len(ends) != 0 {
			t.Error("let in too early")
		}
		time.Sleep(retry / 2)
		if ends, _ := burst(c, "a", 2); len(ends) != 1 {
			t.Errorf("let in %d after the time that was said", len(ends))
		}
		if ends, _ := burst(c, "b", 5); len(ends) != 5 {
			t.Error("one client has taken from another")
		}
	})
}

func TestOpenCallsAreBounded(t *testing.T) {
	c := New(Limits{Open: 3})
	ends, retry := burst(c, "a", 5)
	if len(ends) != 3 || retry != retryOpen {
		t.Fatalf("let in %d, the next after %v", len(ends), retry)
	}
	ends[0]()
	if again, _ := burst(c, "a", 2); len(again) != 1 {
		t.Errorf("let in %d after one has ended", len(again))
	}
	if other, _ := burst(c, "b", 3); len(other) != 3 {
		t.Error("one client has taken from another")
	}
}

func TestWithoutLimitsEverybodyIsLetIn(t *testing.T) {
	if ends, _ := burst(New(Limits{}), "a", 10_000); len(ends) != 10_000 {
		t.Errorf("let in %d", len(ends))
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Limits{Rate: 1, Open: 1})
		busy, _ := burst(c, "busy", 1)
		time.Sleep(2 * time.Second)
		for i := range 10 * maxClients {
			ends, _ := burst(c, fmt.Sprint("crowd ", i), 1)
			for _, end := range ends {
				end()
			}
		}
		if len(c.accounts) > maxClients {
			t.Errorf("%d accounts", len(c.accounts))
		}
		// The crowd beyond the bound shares one account: most of it was refused.
		if _, _, ok := c.Begin("late"); ok {
			t.Error("the shared account has no bound")
		}
		time.Sleep(idle)
		end, _, ok := c.Begin("after the crowd")
		if !ok || len(c.accounts) != 2 {
			t.Errorf("let in %v, %d accounts", ok, len(c.accounts))
		} else {
			end()
		}
		if _, _, ok := c.Begin("busy"); ok {
			t.Error("a client with an open call was forgotten")
		}
		busy[0]()
	})
}
