package telegramsim

import (
	"strings"
	"testing"
)

// The control API as a script sees it, from the first message to the last.
func TestControlAPI(t *testing.T) {
	b := start(t, Options{FirstUpdateID: 50})
	var in Injected
	if b.control("POST", "inject", `{"chat_id":5,"text":"hello","topic_id":3}`, &in); in.UpdateID != 50 || in.MessageID != 1 {
		t.Errorf("%+v", in)
	}
	if b.control("POST", "callback", `{"chat_id":5,"message_id":1,"data":"x"}`, &in); in.UpdateID != 51 || in.CallbackID == "" {
		t.Errorf("%+v", in)
	}
	if b.control("POST", "raw", `{"update":{"poll":{}}}`, &in); in.UpdateID != 52 {
		t.Errorf("%+v", in)
	}
	b.call("getUpdates", `{"offset":53}`)
	var waited struct {
		State State
		Met   bool
	}
	if b.control("GET", "state/wait?confirmed=53", "", &waited); !waited.Met || waited.State.Polls != 1 {
		t.Errorf("%+v", waited)
	}

	var sent struct {
		Messages []Message
		Met      bool
	}
	if b.control("GET", "messages/wait?chat_id=5&timeout_ms=20", "", &sent); sent.Met || len(sent.Messages) != 0 {
		t.Errorf("%+v", sent)
	}
	b.call("sendMessage", `{"chat_id":5,"text":"answer"}`)
	b.call("sendChatAction", `{"chat_id":5,"action":"typing"}`)
	if b.control("GET", "messages/wait?chat_id=5&count=1", "", &sent); !sent.Met || sent.Messages[0].Text != "answer" {
		t.Errorf("%+v", sent)
	}
	if b.control("GET", "messages?chat_id=6", "", &sent); len(sent.Messages) != 0 {
		t.Errorf("%+v", sent)
	}
	var calls struct {
		Calls []Call
		Met   bool
	}
	if b.control("GET", "calls/wait?method=sendMessage&count=1", "", &calls); !calls.Met || calls.Calls[0].Args["text"] != "answer" {
		t.Errorf("%+v", calls)
	}
	if b.control("GET", "calls?after=2", "", &calls); len(calls.Calls) != 1 || calls.Calls[0].Method != "sendChatAction" {
		t.Errorf("%+v", calls)
	}
	var actions struct{ Actions []Action }
	if b.control("GET", "actions", "", &actions); len(actions.Actions) != 1 {
		t.Errorf("%+v", actions)
	}
}

func TestControlAPIChangesHowTheServerBehaves(t *testing.T) {
	b := start(t, Options{})
	var none struct{}
	b.control("POST", "fail", `{"method":"sendMessage","retry_after":4,"count":-1}`, &none)
	if a := b.call("sendMessage", `{"chat_id":1,"text":"x"}`); a.Parameters.RetryAfter != 4 {
		t.Errorf("%+v", a)
	}
	b.control("DELETE", "fail", "", &none)
	b.control("POST", "limits", `{"per_chat":{"count":1,"per_ms":60000}}`, &none)
	b.call("sendMessage", `{"chat_id":1,"text":"x"}`)
	if a := b.call("sendMessage", `{"chat_id":1,"text":"x"}`); a.Code != 429 {
		t.Errorf("%+v", a)
	}
	b.control("POST", "next_update_id", `{"id":3}`, &none)
	var in Injected
	if b.control("POST", "inject", `{"chat_id":-9,"text":"x","topic_id":2}`, &in); in.UpdateID != 3 {
		t.Errorf("%+v", in)
	}
	b.control("POST", "delete_topic", `{"chat_id":-9,"topic_id":2}`, &none)
	b.refused("sendMessage", `{"chat_id":-9,"text":"x","message_thread_id":2}`, "thread not found")
	b.control("POST", "webhook", `{"url":"https://x"}`, &none)
	var state State
	if b.control("GET", "state", "", &state); state.Webhook != "https://x" || state.Pending != 1 {
		t.Errorf("%+v", state)
	}
}

func TestControlAPIRefusesWhatItDoesNotUnderstand(t *testing.T) {
	b := start(t, Options{})
	b.Inject(Incoming{ChatID: 1, Text: "x"})
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "inject", `{"text":"x"}`}, {"POST", "inject", `{"chat_id":1,"txt":"x"}`}, {"POST", "inject", `{`}, {"POST", "callback", `{}`},
		{"POST", "raw", `{"update":7}`}, {"POST", "next_update_id", `{"id":9}`}, {"GET", "messages?chat_id=x", ""}, {"GET", "nothing", ""},
	} {
		var answer struct{ Error string }
		if status := b.control(tt.method, tt.path, tt.body, &answer); status != 400 || strings.TrimSpace(answer.Error) == "" {
			t.Errorf("%s %s: %d %q", tt.path, tt.body, status, answer.Error)
		}
	}
}
