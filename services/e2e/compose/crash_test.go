//go:build compose

package compose_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
)

const (
	people   = 12
	answered = "You said: "
	// patience is how long answers may take once everything runs again.
	patience = 90 * time.Second
)

// crowd are people who write to the bot, each in a chat of its own.
type crowd struct {
	*stack
	chats   []int64
	said    map[int64][]string // in their order
	decided map[int64]int      // interruptions that were answered
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{said: map[int64][]string{}, decided: map[int64]int{}}
	var ids []string
	for i := range int64(people) {
		c.chats = append(c.chats, 1001+i)
		ids = append(ids, strconv.FormatInt(1001+i, 10))
	}
	c.stack = newStack(t, "telecodex-crash", ids)
	return c
}

// say lets everybody write one message, whose turn takes two seconds.
func (c *crowd) say() {
	c.t.Helper()
	for _, chat := range c.chats {
		text := fmt.Sprintf("message %d of %d", len(c.said[chat])+1, chat)
		c.said[chat] = append(c.said[chat], text)
		c.sim.write(chat, "!scenario slow FAKE_CODEX_DELAY=400\n"+text)
	}
}

// answers are the answers that a person got, in their order.
func (c *crowd) answers(chat int64) (texts []string) {
	c.t.Helper()
	interruptions := 0
	for _, message := range c.sim.messages(chat) {
		switch text, isAnswer := strings.CutPrefix(message.Text, answered); {
		case isAnswer:
			texts = append(texts, text)
		case strings.Contains(message.Text, "/again"):
			interruptions++
		}
	}
	if interruptions > c.decided[chat] {
		c.decided[chat] = interruptions
		c.sim.write(chat, "/again")
	}
	return texts
}

// settle waits until those who are asked about have all their answers.
func (c *crowd) settle(chats []int64) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for _, chat := range chats {
		for len(c.answers(chat)) < len(c.said[chat]) {
			if time.Now().After(deadline) {
				c.t.Fatalf("chat %d: %q, said %q", chat, c.answers(chat), c.said[chat])
			}
			c.pause(200 * time.Millisecond)
		}
	}
}

// judge holds what everybody got against what they said: each answer once, in
// order.
func (c *crowd) judge() {
	c.t.Helper()
	for _, chat := range c.chats {
		if got := c.answers(chat); !slices.Equal(got, c.said[chat]) {
			c.t.Errorf("chat %d got\n%q\nfor\n%q", chat, got, c.said[chat])
		}
	}
}

// homes are the workers that hold the sessions, by chat.
func (c *crowd) homes() map[int64]string {
	c.t.Helper()
	homes := map[int64]string{}
	err := c.ask(func(ctx context.Context, gateway gatewayv1.GatewayServiceClient) error {
		list, err := gateway.ListSessions(ctx, &gatewayv1.ListSessionsRequest{PageSize: 100})
		for _, session := range list.GetSessions() {
			homes[session.GetChatId()] = session.GetWorkerId()
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return homes
}

// reachable are the ids of the workers that the gateway reaches.
func (c *crowd) reachable() (ids []string) {
	err := c.ask(func(ctx context.Context, gateway gatewayv1.GatewayServiceClient) error {
		status, err := gateway.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		for _, worker := range status.GetWorkers() {
			if worker.GetReachable() && !worker.GetDraining() {
				ids = append(ids, worker.GetWorkerId())
			}
		}
		return err
	})
	if err != nil {
		c.t.Log(err)
	}
	return ids
}

// running is how many turns the workers run.
func (c *crowd) running() (turns int) {
	c.t.Helper()
	err := c.ask(func(ctx context.Context, gateway gatewayv1.GatewayServiceClient) error {
		status, err := gateway.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		for _, worker := range status.GetWorkers() {
			turns += int(worker.GetSlotsUsed())
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return turns
}

func (c *crowd) ask(question func(context.Context, gatewayv1.GatewayServiceClient) error) error {
	conn, err := harness.Dial(c.gateway)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	return errors.Join(question(ctx, gatewayv1.NewGatewayServiceClient(conn)), conn.Close())
}

// meet waits until the gateway reaches a number of workers.
func (c *crowd) meet(workers int) []string {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ids := c.reachable()
		if len(ids) == workers {
			return ids
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the gateway reaches %d workers, not %d", len(ids), workers)
		}
		c.pause(500 * time.Millisecond)
	}
}

// Twelve people write sixty messages to three replicas, one of which is killed in
// the middle of its turns, together with the gateway; then one replica is taken
// away, and comes back.
func TestReplicasKeepTheirSessions(t *testing.T) {
	c := newCrowd(t)
	c.compose("build", "--quiet")
	c.up(3)
	c.meet(3)

	c.say()
	c.settle(c.chats)
	homes := c.homes()
	spread := map[string]int{}
	for _, worker := range homes {
		spread[worker]++
	}
	if len(homes) != people || len(spread) != 3 {
		t.Fatalf("%d sessions are on workers %v", len(homes), spread)
	}

	c.killInTheMiddle()
	c.say()
	c.up(3)
	c.meet(3)
	c.settle(c.chats)
	c.judge()

	c.rescale(homes)
	c.settle(c.chats)
	c.judge()
	if now := c.homes(); !maps.Equal(now, homes) {
		t.Errorf("sessions are on workers\n%v\nand were on\n%v", now, homes)
	}
	total := 0
	for _, said := range c.said {
		total += len(said)
	}
	t.Logf("%d messages of %d people, %d turns interrupted and run again", total, people, len(c.decided))
	if total != 60 || len(c.decided) == 0 {
		t.Errorf("%d messages, %d interruptions", total, len(c.decided))
	}
}

// killInTheMiddle lets everybody write, and kills a worker and the gateway while
// turns run.
func (c *crowd) killInTheMiddle() {
	c.t.Helper()
	victims := append(c.containers("orchestrator")[:1], c.containers("gateway")...)
	c.say()
	deadline := time.Now().Add(patience)
	for running := 0; running < people; running = c.running() {
		if time.Now().After(deadline) {
			c.t.Fatalf("%d turns run at once, not %d", running, people)
		}
		c.pause(20 * time.Millisecond)
	}
	c.kill(victims...)
}

// rescale takes a replica away, shows that the others go on, and lets it return.
func (c *crowd) rescale(homes map[int64]string) {
	c.t.Helper()
	c.up(2)
	left := c.meet(2)
	c.say()
	var there []int64
	for _, chat := range c.chats {
		if slices.Contains(left, homes[chat]) {
			there = append(there, chat)
		}
	}
	if len(there) == 0 || len(there) == people {
		c.t.Fatalf("%d sessions are on the workers that are left", len(there))
	}
	c.settle(there)
	c.say()
	c.settle(there)
	c.up(3)
	c.meet(3)
}
