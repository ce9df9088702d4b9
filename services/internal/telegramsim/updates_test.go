package telegramsim

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUpdatesAreRedeliveredUntilTheOffsetConfirmsThem(t *testing.T) {
	b := start(t, Options{FirstUpdateID: 10})
	for _, text := range []string{"a", "b", "c"} {
		b.Inject(Incoming{ChatID: 1, Text: text})
	}
	for _, step := range []struct {
		params    string
		ids       []int64
		confirmed int64
	}{
		{`{}`, []int64{10, 11, 12}, 0},
		{`{"offset":0}`, []int64{10, 11, 12}, 0},
		{`{"limit":2}`, []int64{10, 11}, 0},
		{`{"limit":0}`, []int64{10, 11, 12}, 0},
		{`{"offset":5}`, []int64{10, 11, 12}, 0},
		{`{"offset":"11"}`, []int64{11, 12}, 11},
		{`{"offset":10}`, []int64{11, 12}, 11},
		{`{"offset":-1}`, []int64{12}, 12},
		{`{"offset":13}`, nil, 13},
	} {
		ids, _ := b.call("getUpdates", step.params).updates(t)
		if !slices.Equal(ids, step.ids) || b.State().ConfirmedOffset != step.confirmed {
			t.Errorf("%s: %v, confirmed %d", step.params, ids, b.State().ConfirmedOffset)
		}
	}
}

func TestLongPoll(t *testing.T) {
	t.Run("answers as soon as a message comes", func(t *testing.T) {
		b := start(t, Options{})
		result := b.parked(`{"timeout":50}`)
		b.Inject(Incoming{ChatID: 1, Text: "hi"})
		if _, texts := (<-result).updates(t); !slices.Equal(texts, []string{"hi"}) {
			t.Errorf("got %q", texts)
		}
	})
	t.Run("ends empty when its time is over", func(t *testing.T) {
		b := start(t, Options{})
		begin := time.Now()
		if ids, _ := b.call("getUpdates", `{"timeout":1}`).updates(t); ids != nil || time.Since(begin) < time.Second {
			t.Errorf("got %v after %v", ids, time.Since(begin))
		}
	})
	t.Run("a second poller ends the first with 409", func(t *testing.T) {
		b := start(t, Options{})
		first := b.parked(`{"timeout":50}`)
		second := b.parked(`{"timeout":50}`)
		if a := <-first; a.Code != 409 || a.Description != conflictPoll {
			t.Errorf("the first got %+v", a)
		}
		b.Inject(Incoming{ChatID: 1, Text: "hi"})
		if _, texts := (<-second).updates(t); !slices.Equal(texts, []string{"hi"}) {
			t.Errorf("the second got %q", texts)
		}
	})
	t.Run("a poller that hangs up is forgotten", func(t *testing.T) {
		b := start(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := b.try(ctx, "getUpdates", `{"timeout":50}`)
			done <- err
		}()
		b.waitFor(func(s State) bool { return s.Parked })
		cancel()
		<-done
		b.waitFor(func(s State) bool { return !s.Parked })
	})
	t.Run("a repeated offset waits when throttled", func(t *testing.T) {
		b := start(t, Options{ThrottleRepolls: true})
		b.call("getUpdates", `{"offset":5}`)
		result := b.parked(`{"offset":5}`)
		b.Inject(Incoming{ChatID: 1, Text: "hi"})
		if _, texts := (<-result).updates(t); len(texts) != 1 {
			t.Errorf("got %q", texts)
		}
	})
	t.Run("closing ends it", func(t *testing.T) {
		b := start(t, Options{})
		result := b.parked(`{"timeout":50}`)
		b.Sim.Close()
		if a := <-result; a.Code != 500 {
			t.Errorf("got %+v", a)
		}
	})
}

func TestWebhook(t *testing.T) {
	b := start(t, Options{})
	parked := b.parked(`{"timeout":50}`)
	b.call("setWebhook", `{"url":"https://example.org/hook"}`)
	if a := <-parked; a.Code != 409 || a.Description != conflictSetWebhook {
		t.Errorf("the parked poll got %+v", a)
	}
	if a := b.call("getUpdates", `{}`); a.Code != 409 || a.Description != conflictWebhook {
		t.Errorf("a poll got %+v", a)
	}
	b.Inject(Incoming{ChatID: 1, Text: "kept"})
	if a := b.call("getWebhookInfo", ``); !strings.Contains(string(a.Result), `"pending_update_count":1,"url":"https://example.org/hook"`) {
		t.Errorf("info %s", a.Result)
	}
	b.call("deleteWebhook", `{"drop_pending_updates":false}`)
	if _, texts := b.call("getUpdates", `{}`).updates(t); !slices.Equal(texts, []string{"kept"}) {
		t.Errorf("got %q", texts)
	}
	b.call("deleteWebhook", `{"drop_pending_updates":true}`)
	if b.State().Pending != 0 {
		t.Error("updates are left")
	}
}

func TestAllowedUpdatesPersistAndApplyOnArrival(t *testing.T) {
	b := start(t, Options{})
	b.Inject(Incoming{ChatID: 1, Text: "before"})
	b.call("getUpdates", `{"allowed_updates":["callback_query"]}`)
	b.call("getUpdates", `{}`)
	if in := b.Inject(Incoming{ChatID: 1, Text: "unwanted"}); in.UpdateID != 0 || in.MessageID != 2 {
		t.Errorf("got %+v", in)
	}
	b.InjectCallback(Callback{ChatID: 1, MessageID: 1, Data: "x"})
	b.call("getUpdates", `{"allowed_updates":[]}`)
	b.Inject(Incoming{ChatID: 1, Text: "after"})
	if _, texts := b.call("getUpdates", `{}`).updates(t); !slices.Equal(texts, []string{"before", "", "after"}) {
		t.Errorf("got %q", texts)
	}
	b.refused("getUpdates", `{"allowed_updates":"message"}`, "allowed_updates")
}

func TestRestartedUpdateIDsAreServedInSpiteOfAHigherOffset(t *testing.T) {
	b := start(t, Options{FirstUpdateID: 5000})
	b.Inject(Incoming{ChatID: 1, Text: "old"})
	if b.SetNextUpdateID(7) == nil {
		t.Error("the ids restart while an update waits")
	}
	b.call("getUpdates", `{"offset":5001}`)
	if err := b.SetNextUpdateID(7); err != nil {
		t.Fatal(err)
	}
	b.Inject(Incoming{ChatID: 1, Text: "new"})
	if ids, _ := b.call("getUpdates", `{"offset":5001}`).updates(t); !slices.Equal(ids, []int64{7}) {
		t.Errorf("got %v", ids)
	}
	if b.call("getUpdates", `{"offset":8}`); b.State().Pending != 0 {
		t.Error("the new id is not confirmed")
	}
	if b.SetNextUpdateID(0) == nil {
		t.Error("0 is an update id")
	}
}

func TestRawUpdates(t *testing.T) {
	b := start(t, Options{FirstUpdateID: 20})
	for _, tt := range []struct {
		raw      string
		verbatim bool
		id       int64
	}{
		{`{"poll":{"id":"1"}}`, false, 20},
		{`{"update_id":30,"message":{"message_id":5,"message_thread_id":9,"chat":{"id":-3,"type":"group"}}}`, false, 30},
		{`{"message":"no id"}`, true, 31},
		{`17`, true, 32},
	} {
		if in, err := b.InjectRaw([]byte(tt.raw), tt.verbatim); err != nil || in.UpdateID != tt.id {
			t.Errorf("%s: %+v, %v", tt.raw, in, err)
		}
	}
	want := `[{"poll":{"id":"1"},"update_id":20},{"update_id":30,"message":{"message_id":5,"message_thread_id":9,"chat":{"id":-3,"type":"group"}}},{"message":"no id"},17]`
	if got := string(b.call("getUpdates", `{}`).Result); got != want {
		t.Errorf("got %s", got)
	}
	if a := b.call("sendMessage", `{"chat_id":-3,"text":"x","message_thread_id":9,"reply_parameters":{"message_id":5}}`); !a.OK {
		t.Errorf("the raw message is not known: %+v", a)
	}
	for _, raw := range []string{`{`, `17`, `null`} {
		if _, err := b.InjectRaw([]byte(raw), false); err == nil {
			t.Errorf("%s is accepted", raw)
		}
	}
}

func TestIdentityAndUnknownPaths(t *testing.T) {
	b := start(t, Options{BotUsername: "my_bot"})
	if a := b.call("GETME", ``); !a.OK || !strings.Contains(string(a.Result), `"id":1000000,"is_bot":true`) || !strings.Contains(string(a.Result), `"my_bot"`) {
		t.Errorf("got %+v", a)
	}
	for path, status := range map[string]int{
		"/bot1:WRONG/getMe": 401, "/bot" + DefaultToken + "/getNothing": 404, "/": 404, "/botgetMe": 404, "/favicon.ico": 404,
	} {
		if a, err := b.post(t.Context(), path, "", strings.NewReader("")); err != nil || a.Status != status || a.Code != status {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
	}
	b.refused("sendMessage", `[]`, "not a JSON object")
}
