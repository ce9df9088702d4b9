package telegramsim

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaults(t *testing.T) {
	b := start(t, Options{})
	send := func() (answer, error) { return b.try(t.Context(), "sendMessage", `{"chat_id":1,"text":"x"}`) }
	for _, tt := range []struct {
		name  string
		fault Fault
		check func(answer, error) bool
		sent  int
	}{
		{"reset", Fault{Reset: true}, func(_ answer, err error) bool { return err != nil }, 0},
		{"reset after it was carried out", Fault{Reset: true, Execute: true}, func(_ answer, err error) bool { return err != nil }, 1},
		{"a body that ends early", Fault{TruncateBody: true, Execute: true}, func(_ answer, err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, 1},
		{"JSON that ends early", Fault{TruncateJSON: true}, func(a answer, err error) bool { return a.Status == 200 && err != nil }, 0},
		{"an HTML page", Fault{HTML: true}, func(a answer, err error) bool { return a.Status == 502 && strings.Contains(err.Error(), "<html>") }, 0},
		{"an HTML page with 200", Fault{HTML: true, Status: 200}, func(a answer, err error) bool { return a.Status == 200 && err != nil }, 0},
		{"a body word for word", Fault{Body: `{"ok":true,"result":[]}`}, func(a answer, err error) bool { return a.OK && string(a.Result) == "[]" }, 0},
		{"429", Fault{RetryAfter: 30}, func(a answer, err error) bool { return a.Code == 429 && a.Parameters.RetryAfter == 30 }, 0},
		{"403", Fault{Status: 403, Description: "Forbidden: bot was blocked by the user"}, func(a answer, err error) bool {
			return a.Status == 403 && a.Code == 403 && a.Description == "Forbidden: bot was blocked by the user"
		}, 0},
		{"a migration", Fault{MigrateToChatID: -100}, func(a answer, err error) bool { return a.Code == 400 && a.Parameters.MigrateTo == -100 }, 0},
		{"500 after it was carried out", Fault{Status: 500, Execute: true}, func(a answer, err error) bool { return a.Code == 500 }, 1},
		{"a delay alone", Fault{DelayMS: 20}, func(a answer, err error) bool { return a.OK }, 1},
		{"another method", Fault{Method: "getMe", Status: 500}, func(a answer, err error) bool { return a.OK }, 1},
		{"another chat", Fault{ChatID: 2, Status: 500}, func(a answer, err error) bool { return a.OK }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.ClearFaults()
			before, begin := len(b.Messages(1)), time.Now()
			b.Fail(tt.fault)
			a, err := send()
			if !tt.check(a, err) || len(b.Messages(1))-before != tt.sent {
				t.Errorf("%+v, %v, %d sent", a, err, len(b.Messages(1))-before)
			}
			if time.Since(begin) < time.Duration(tt.fault.DelayMS)*time.Millisecond {
				t.Error("no delay")
			}
		})
	}
	t.Run("for as many calls as it says, the oldest first", func(t *testing.T) {
		b.ClearFaults()
		b.Fail(Fault{Status: 500, Count: 2})
		b.Fail(Fault{Status: 403, Count: -1})
		var codes []int
		for range 4 {
			a, _ := send()
			codes = append(codes, a.Code)
		}
		if !slices.Equal(codes, []int{500, 500, 403, 403}) {
			t.Errorf("%v", codes)
		}
		b.ClearFaults()
		if a, err := send(); err != nil || !a.OK {
			t.Errorf("%+v, %v", a, err)
		}
	})
	t.Run("a delay ends when the simulator closes", func(t *testing.T) {
		b.Fail(Fault{DelayMS: 3_600_000})
		done := make(chan answer)
		go func() {
			a, _ := send()
			done <- a
		}()
		ctx := t.Context()
		n := len(b.Calls(CallFilter{}))
		if err := b.await(ctx, func() bool { return len(b.calls) > n || len(b.faults) > 0 && b.faults[0].Count == 0 }); err != nil {
			t.Fatal(err)
		}
		b.Sim.Close()
		if a := <-done; a.Code != 500 {
			t.Errorf("%+v", a)
		}
	})
}

func TestRetryAfterHeader(t *testing.T) {
	b := start(t, Options{})
	b.Fail(Fault{RetryAfter: 12})
	resp, err := b.client.Post(b.URL+"/bot"+DefaultToken+"/getMe", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "12" {
		t.Errorf("%d %s", resp.StatusCode, resp.Header)
	}
}

func TestLimitsOverSlidingWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{limits: Limits{PerChat: Rate{2, 1000}, PerGroup: Rate{3, 60_000}, Overall: Rate{5, 1000}}}
		take := func(chatID int64, want int) {
			t.Helper()
			if got := l.take(chatID, time.Now()); got != want {
				t.Errorf("chat %d: %d, want %d", chatID, got, want)
			}
		}
		take(1, 0)
		take(1, 0)
		take(1, 1)
		take(-1, 0)
		take(-1, 0)
		take(-1, 1)
		take(2, 0)
		take(2, 1) // five in all
		time.Sleep(time.Second)
		take(1, 0)
		take(-1, 0)
		take(-1, 59)
		time.Sleep(59 * time.Second)
		take(-1, 0)
	})
}

func TestEditsAndActionsCountAgainstTheLimits(t *testing.T) {
	b := start(t, Options{Limits: Limits{PerChat: Rate{3, 60_000}}})
	b.call("sendMessage", `{"chat_id":1,"text":"x"}`)
	b.call("editMessageText", `{"chat_id":1,"message_id":1,"text":"y"}`)
	b.call("sendChatAction", `{"chat_id":1,"action":"typing"}`)
	a := b.call("sendMessage", `{"chat_id":1,"text":"z"}`)
	if a.Code != 429 || a.Parameters.RetryAfter < 50 || a.Description != tooMany(a.Parameters.RetryAfter).description {
		t.Errorf("%+v", a)
	}
	if a := b.call("getUpdates", `{}`); !a.OK {
		t.Errorf("polls are limited: %+v", a)
	}
	b.SetLimits(Limits{})
	if a := b.call("sendMessage", `{"chat_id":1,"text":"z"}`); !a.OK {
		t.Errorf("%+v", a)
	}
}
