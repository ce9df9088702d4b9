//go:build compose

package compose_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
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

// say lets people write one message each, whose turn takes two seconds.
func (c *crowd) say(chats []int64) {
	c.t.Helper()
	for _, chat := range chats {
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

	c.say(c.chats)
	c.settle(c.chats)
	homes := c.homes()
	spread := map[string]int{}
	for _, worker := range homes {
		spread[worker]++
	}
	if len(homes) != people || len(spread) != 3 {
		t.Fatalf("%d sessions are on workers %v", len(homes), spread)
	}

	c.killInTheMiddle(homes)
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

// killInTheMiddle lets everybody write, kills a worker and the gateway while turns
// run, and lets everybody write once more. Those whose turn is interrupted do so just
// before: what they wrote afterwards, without having read of it, would come first.
func (c *crowd) killInTheMiddle(homes map[int64]string) {
	c.t.Helper()
	victims := append(c.containers("orchestrator")[:1], c.containers("gateway")...)
	id := regexp.MustCompile(`"msg":"serving".*"worker_id":"([^"]+)"`).FindStringSubmatch(must(c.t, nil, "sh", "-c", `docker logs "$1" 2>&1`, "sh", victims[0]))
	if id == nil {
		c.t.Fatalf("%s does not say which worker it is", victims[0])
	}
	var theirs, others []int64
	for _, chat := range c.chats {
		if homes[chat] == id[1] {
			theirs = append(theirs, chat)
		} else {
			others = append(others, chat)
		}
	}
	c.say(c.chats)
	c.until("turns run", func() (any, bool) { running := c.running(); return running, running == people })
	c.say(theirs)
	c.until("messages are not stored", func() (any, bool) { pending := c.sim.pending(); return pending, pending == 0 })
	c.kill(victims...)
	c.say(others)
}

// rescale takes a replica away, shows that the others go on, and lets it return.
func (c *crowd) rescale(homes map[int64]string) {
	c.t.Helper()
	c.up(2)
	left := c.meet(2)
	c.say(c.chats)
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
	c.say(c.chats)
	c.settle(there)
	c.up(3)
	c.meet(3)
}
