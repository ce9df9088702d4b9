package delivery

import (
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

func blocked(count int) telegramsim.Fault {
	return telegramsim.Fault{Method: "sendMessage", ChatID: chatID, Count: count, Status: 403, Description: "Forbidden: bot was blocked by the user"}
}

func TestOnSuccessAChatThatRefusesTheBotIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.OnSuccess, w.config.Patience = true, 10*time.Millisecond
	w.sim.Fail(blocked(-1))
	w.run()
	key := w.post(chatID, 0, text("refused"))
	r := w.reported(1)
	if r.GetAckSkippedCount() != 1 || r.GetSentCount() != 0 || !slices.Equal(codes(r), []string{cycle.ProcessingException}) {
		t.Errorf("report = %v", r)
	}
	// Who is answered again has written, and so takes
	// the earlier answer too.
	w.eventually("tried often", func() bool { return w.state(key).Outbox[0].Attempts > 2 })
	if o := w.state(key).Outbox[0]; o.State == store.Dead {
		t.Errorf("outbox = %+v", o)
	}
	w.sim.ClearFaults()
	w.delivered(w.post(chatID, 0, text("next")))
	if m := w.sent(chatID, 2); m[0].Text != "refused" || m[1].Text != "next" {
		t.Errorf("messages = %+v", m)
	}
}

func TestOtherwiseItIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(blocked(1))
	w.run()
	refused := w.post(chatID, 0, text("refused"))
	w.delivered(w.post(chatID, 0, text("next")))
	w.sent(chatID, 1)
	if o := w.state(refused).Outbox[0]; o.State != store.Dead {
		t.Errorf("outbox = %+v", o)
	}
	// The tracker of these tests counts as on-success does.
	if r := w.reported(1); r.GetAckSkippedCount() != 1 || r.GetAckedCount() != 0 {
		t.Errorf("report = %v", r)
	}
}

func TestOnceTriesAChatThatRefusesTheBotOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.OnSuccess, w.config.Once = true, true
	w.sim.Fail(blocked(-1))
	key := w.post(chatID, 0, text("refused"))
	w.run()
	if err := w.sender.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.state(key).Outbox[0]; o.State != store.Pending || o.Attempts != 1 {
		t.Errorf("outbox = %+v", o)
	}
}

func TestWhatWaitsBehindAMessageThatCannotBeSentIsReportedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Patience = 10 * time.Millisecond
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, Status: 502})
	w.run()
	first := w.post(chatID, 0, text("one"))
	w.reported(1)
	second := w.post(chatID, 0, text("two")) // the chat was reported before
	if r := w.reported(2); r.GetAckSkippedCount() != 1 {
		t.Errorf("report = %v", r)
	}
	w.sim.ClearFaults()
	w.delivered(first)
	w.delivered(second)
}

func TestAForgottenChatLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Budget = NewBudget(1e6)
	w.sim.DeleteTopic(5, 77)
	w.run()
	w.delivered(w.post(5, 77, text("no topic")))
	w.delivered(w.post(6, 0, text("hello")))
	if w.sender.Known() != 2 {
		t.Fatalf("%d chats are known", w.sender.Known())
	}
	// The budget keeps a chat for the seconds that it counts.
	w.eventually("forgotten", func() bool { w.sender.Forget(5); w.sender.Forget(6); return w.sender.Known() == 0 })

	// One that still gets messages is forgotten after the last of them.
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: -7, DelayMS: 200})
	key := w.post(-7, 0, text("late"))
	w.eventually("being sent", func() bool { return w.state(key).Outbox[0].State != store.Pending }) // or sent, on a slow machine
	w.sender.Forget(-7)
	w.delivered(key)
	w.eventually("forgotten", func() bool {
		w.sender.mu.Lock()
		defer w.sender.mu.Unlock()
		return len(w.sender.chats) == 0 && len(w.sender.forgotten) == 0
	})
}

func TestAChatForgottenBeforeItsMessageIsSentLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Budget = NewBudget(0)
	key := w.post(5, 0, text("first"))
	w.sender = NewSender(w.config)
	w.sender.Wake(5)
	w.sender.Forget(5)
	w.start()
	w.delivered(key)
	w.eventually("forgotten", func() bool { return w.sender.Known() == 0 })
}
