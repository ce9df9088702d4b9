package delivery

import (
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

// ask has a turn of a chat interrupted and its question put into the outbox, waits
// until it is sent where a sender runs, and returns the turn's id.
func (w *world) ask(chat int64) string {
	w.t.Helper()
	w.nextID++
	stored, err := w.store.Ingest(w.t.Context(), []store.NewUpdate{{UpdateID: w.nextID, Kind: store.KindPrompt, State: store.Queued, Text: "x",
		Digest: "d", SessionID: admission.SessionID(chat, 0), ChatID: chat, MessageID: w.nextID, Private: chat > 0, Date: time.Now()}}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	turn := store.TurnID(1000000, stored.New[0].Key, 1)
	if err := w.store.Assign(w.t.Context(), turn, "a", "j", ""); err != nil {
		w.t.Fatal(err)
	}
	question := []store.Message{{Kind: store.Question, Text: "what now?", Markup: []byte(`{"inline_keyboard":[[{"text":"Drop","callback_data":"x"}]]}`)}}
	if err := w.store.Interrupt(w.t.Context(), turn, false, store.Outcome{Name: "interrupted"}, question); err != nil {
		w.t.Fatal(err)
	}
	if w.sender != nil {
		w.sender.Wake(chat)
		w.eventually("asked", func() bool { return w.state(stored.New[0].Key).Outbox[0].State == store.Sent })
	}
	return turn
}

func (w *world) decide(turn string) {
	w.t.Helper()
	if _, err := w.store.Resolve(w.t.Context(), turn, store.Decision{Choice: store.Drop, Shown: "dropped"}); err != nil {
		w.t.Fatal(err)
	}
	if w.sender != nil {
		w.sender.Amend()
	}
}

// amended waits until nothing is outdated, and returns the calls that took and what
// the first message of a chat says.
func (w *world) amended(chat int64) (calls []telegramsim.Call, m telegramsim.Message) {
	w.t.Helper()
	w.eventually("amended", func() bool {
		all, err := w.store.Outdated(w.t.Context())
		return err == nil && len(all) == 0
	})
	return w.sim.Calls(telegramsim.CallFilter{Method: "editMessageText"}), w.sent(chat, 1)[0]
}

func TestADecidedQuestionSaysSoAndLosesItsButtons(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault telegramsim.Fault
		calls int
		says  string
	}{
		"at once":                        {calls: 1, says: "dropped"},
		"after a failure":                {telegramsim.Fault{Status: 502}, 2, "dropped"},
		"after one that was carried out": {telegramsim.Fault{Execute: true, Reset: true}, 2, "dropped"}, // "is not modified"
		"after it had to wait":           {telegramsim.Fault{RetryAfter: 2}, 2, "dropped"},
		"not: the message is gone":       {telegramsim.Fault{Status: 400, Description: "Bad Request: message to edit not found"}, 1, "what now?"},
		"not: the bot was thrown out":    {telegramsim.Fault{Status: 403, Description: "Forbidden: bot was kicked from the group chat"}, 1, "what now?"},
		"not: it is in another chat":     {telegramsim.Fault{MigrateToChatID: -1009}, 1, "what now?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const chat = -9
			w := newWorld(t).run()
			turn := w.ask(chat)
			if m := w.sent(chat, 1)[0]; m.ReplyMarkup == nil {
				t.Errorf("asked without buttons: %+v", m)
			}
			if tt.calls > 1 || tt.says != "dropped" {
				tt.fault.Method = "editMessageText"
				w.sim.Fail(tt.fault)
			}
			w.decide(turn)
			if tt.fault.RetryAfter > 0 {
				w.eventually("that is stored", func() bool { b, err := w.store.BlockedChats(t.Context()); return err == nil && !b[chat].IsZero() })
			}
			calls, m := w.amended(chat)
			if len(calls) != tt.calls || m.Text != tt.says || (m.ReplyMarkup == nil) != (tt.says == "dropped") {
				t.Errorf("after %d calls it says %q with %s", len(calls), m.Text, m.ReplyMarkup)
			}
			if wait := time.Duration(tt.fault.RetryAfter) * time.Second; len(calls) > 1 && calls[1].At.Sub(calls[0].At) < wait {
				t.Errorf("edited again after %v", calls[1].At.Sub(calls[0].At))
			}
			if to := w.store.ChatNow(chat); (to != chat) != (tt.fault.MigrateToChatID != 0) {
				t.Errorf("the chat is %d now", to)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.reports) != 0 {
				t.Errorf("the edit is reported: %v", w.reports)
			}
		})
	}
}

func TestWhatWasDecidedMeanwhileIsShownAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	turn := w.ask(chatID)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.decide(turn)
	w.reopen()
	w.run()
	if calls, m := w.amended(chatID); m.Text != "dropped" || m.ReplyMarkup != nil || len(calls) != 1 {
		t.Errorf("after %d calls it says %q with %s", len(calls), m.Text, m.ReplyMarkup)
	}
}

func TestAQuestionOfAGroupThatMovedIsNotEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	turn := w.ask(-9)
	if err := w.store.Migrate(t.Context(), -9, -1009); err != nil {
		t.Fatal(err)
	}
	w.decide(turn)
	if calls, m := w.amended(-9); len(calls) != 0 || m.Text != "what now?" {
		t.Errorf("after %d calls it says %q", len(calls), m.Text)
	}
}

func TestAQuestionThatIsDecidedBeforeItIsAskedHasNoButtons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide(w.ask(chatID))
	w.run()
	if m := w.sent(chatID, 1)[0]; m.Text != "dropped" || m.ReplyMarkup != nil {
		t.Errorf("it says %q with %s", m.Text, m.ReplyMarkup)
	}
	w.amended(chatID)
}

// An edit counts in the chat's budget, as any call, and goes only where there is room
// to spare.
func TestAnEditHoldsNoMessageBack(t *testing.T) {
	t.Parallel()
	const away = 2000 // a chat that has to wait
	w := newWorld(t)
	w.config.Budget = NewBudget(25)
	w.run()
	turn, late := w.ask(chatID), w.ask(away)
	w.config.Budget.Hold(away, time.Now().Add(time.Hour))
	w.decide(late)
	w.decide(turn)
	began := time.Now()
	keys := []store.Key{w.post(chatID, 0, text("one")), w.post(chatID, 0, text("two"))}
	for _, key := range keys {
		w.delivered(key)
	}
	messages := w.sent(chatID, 3)
	w.eventually("edited", func() bool { return len(w.sim.Calls(telegramsim.CallFilter{Method: "editMessageText"})) == 1 })
	edit := w.sim.Calls(telegramsim.CallFilter{Method: "editMessageText"})[0]
	if edit.ChatID != chatID {
		t.Errorf("a chat that has to wait was called: %+v", edit)
	}
	// Question, two answers and an edit are one call more than a burst.
	if last := messages[2].At; edit.At.After(last) && edit.At.Sub(messages[0].At) < chatInterval {
		t.Errorf("the edit came %v after the question, and is not counted", edit.At.Sub(messages[0].At))
	}
	if waited := messages[2].At.Sub(began); waited > 2*chatInterval {
		t.Errorf("an answer waited %v", waited)
	}
	w.eventually("only that one is left", func() bool {
		all, err := w.store.Outdated(t.Context())
		return err == nil && len(all) == 1 && all[0].ChatID == away
	})
}

func TestAQuestionThatIsDecidedWhileItIsAskedSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", DelayMS: 300})
	turn := w.ask(chatID)
	key := store.Key{Generation: 1, UpdateID: w.nextID}
	w.run()
	w.eventually("being asked", func() bool { return w.state(key).Outbox[0].State != store.Pending })
	w.decide(turn)
	w.eventually("it says so", func() bool { m := w.sent(chatID, 1)[0]; return m.Text == "dropped" && m.ReplyMarkup == nil })
}

func TestNothingIsEditedWhileAMessageWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Budget = NewBudget(0)
	w.run()
	turn := w.ask(chatID)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: -1, Status: 502})
	key := w.post(chatID, 0, text("waits"))
	w.eventually("tried", func() bool { return w.state(key).Outbox[0].Attempts > 0 })
	if _, err := w.store.Resolve(t.Context(), turn, store.Decision{Choice: store.Drop, Shown: "dropped"}); err != nil {
		t.Fatal(err)
	}
	outdated, err := w.store.Outdated(t.Context())
	if err != nil || len(outdated) != 1 {
		t.Fatalf("outdated: %v, %v", outdated, err)
	}
	if done, err := w.sender.edit(t.Context(), outdated[0]); done || err != nil || len(w.sim.Calls(telegramsim.CallFilter{Method: "editMessageText"})) != 0 {
		t.Errorf("it is edited: %v, %v", done, err)
	}
	w.sim.ClearFaults()
	w.delivered(key)
}
