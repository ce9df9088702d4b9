package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/telegramsim"
)

// leaseTTL is how long a gateway may be silent, as shipped.
const leaseTTL = 15 * time.Second

// TestTheSecondGatewayTakesOver kills one of two gateways on one PostgreSQL
// database, in the middle of a turn: the other one polls within the lease's time
// and two seconds, and nothing is lost, run twice or said twice.
func TestTheSecondGatewayTakesOver(t *testing.T) {
	t.Parallel() // it mostly waits for the lease
	server := pgtest.New()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newSystem(t)
	s.startWorker()
	store := "CHANNEL_STORE=" + server.URL(t)
	first := s.startGateway(nil, store, "CHANNEL_LONG_POLL_S=1")
	t.Cleanup(func() {
		if err := first.Kill(); err != nil {
			t.Error(err)
		}
	})
	s.say("first")
	s.heard(1)
	operator, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	s.startGateway(nil, store, "CHANNEL_LONG_POLL_S=1", "CHANNEL_LISTEN_ADDR="+operator)
	s.eventually("the second one stands by", func() bool { return standsBy(t, operator) })

	const slow = "!scenario slow\nruns when its gateway dies"
	prompts := []string{slow, "waits when its gateway dies", "is written when nobody polls"}
	s.say(slow)
	s.eventually("the turn runs", func() bool { started, _ := s.runs(slow); return started == 1 })
	s.say(prompts[1])
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	died, polls := time.Now(), s.sim.State().Polls
	s.say(prompts[2])
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.sim.WaitForState(ctx, func(state telegramsim.State) bool { return state.Polls > polls }); err != nil {
		t.Fatalf("nobody polls: %s", s.gateway.Stderr())
	}
	took := time.Since(died)
	t.Logf("the second gateway polls %v after the death of the first", took)
	const busy = 3 * time.Second // what a busy machine may take on top
	if took > leaseTTL+2*time.Second+busy {
		t.Errorf("that is more than %v", leaseTTL+2*time.Second)
	}
	texts := s.heard(1 + len(prompts))
	for _, prompt := range prompts {
		if started, ended := s.runs(prompt); started != 1 || ended != 1 {
			t.Errorf("%q was begun %d times and ended %d times", prompt, started, ended)
		}
	}
	if sorted := slices.Sorted(slices.Values(texts)); len(slices.Compact(sorted)) != 1+len(prompts) {
		t.Errorf("sent: %q", texts)
	}
	if standsBy(t, operator) {
		t.Error("it says that it stands by")
	}
}

// standsBy asks a gateway whether another one serves the bot; one that does not
// answer yet does not.
func standsBy(t *testing.T, operator string) bool {
	t.Helper()
	conn, err := harness.Dial(operator)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	status, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(t.Context(), &gatewayv1.GetStatusRequest{})
	return err == nil && status.GetStandby()
}
