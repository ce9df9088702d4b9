package botapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// canned answers by method, in memory, and keeps the last request.
type canned struct {
	answers map[string][]string // "status body"; the last one is repeated
	calls   atomic.Int32
	path    string
	body    string
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	method := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	data, _ := io.ReadAll(r.Body)
	c.path, c.body = r.URL.Path, string(data)
	queue := c.answers[method]
	if len(queue) > 1 {
		c.answers[method] = queue[1:]
	}
	var status int
	_, body, _ := strings.Cut(queue[0], " ")
	fmt.Sscan(queue[0], &status)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestRequestsOnTheWire(t *testing.T) {
	message := []string{`200 {"ok":true,"result":{"message_id":77}}`}
	yes := []string{`200 {"ok":true,"result":true}`}
	wire := &canned{answers: map[string][]string{
		"getMe": {`200 {"ok":true,"result":{"id":5,"is_bot":true,"username":"b"}}`}, "getUpdates": {`200 {"ok":true,"result":[]}`},
		"sendMessage": message, "editMessageText": message, "sendChatAction": yes, "answerCallbackQuery": yes,
		"setMessageReaction": yes, "deleteWebhook": yes, "getWebhookInfo": {`200 {"ok":true,"result":{"url":"https://x/` + sentinel + `","pending_update_count":3}}`},
	}}
	c := client(t, "http://localhost/api", func(o *Options) { o.Transport = wire })
	ctx := t.Context()
	for _, tt := range []struct {
		method string
		do     func() (any, error)
		result any
		body   string
	}{
		{"getMe", func() (any, error) { return c.GetMe(ctx) }, User{ID: 5, Username: "b"}, `{}`},
		{"getWebhookInfo", func() (any, error) { return c.GetWebhookInfo(ctx) }, WebhookInfo{Set: true, Pending: 3}, `{}`},
		{"getUpdates", func() (any, error) {
			return c.GetUpdates(ctx, GetUpdates{Offset: 9, Limit: 50, Timeout: time.Hour, AllowedUpdates: []string{"message"}})
		}, []Update{}, `{"offset":9,"limit":50,"timeout":50,"allowed_updates":["message"]}`},
		{"getUpdates", func() (any, error) { return c.GetUpdates(ctx, GetUpdates{}) }, []Update{}, `{"timeout":0,"allowed_updates":[]}`},
		{"sendMessage", func() (any, error) {
			return c.SendMessage(ctx, SendMessage{ChatID: -100, TopicID: 3, Text: "<b>&", ReplyTo: 8, DisableLinkPreview: true, DisableNotification: true,
				Entities: []Entity{{Type: "pre", Offset: 0, Length: 3, Language: "go"}}, ReplyMarkup: json.RawMessage(`{"force_reply":true}`)})
		}, Message{ID: 77}, `{"chat_id":-100,"message_thread_id":3,"text":"<b>&","entities":[{"type":"pre","offset":0,"length":3,"language":"go"}],` +
			`"reply_parameters":{"message_id":8,"allow_sending_without_reply":true},"link_preview_options":{"is_disabled":true},"disable_notification":true,"reply_markup":{"force_reply":true}}`},
		{"sendMessage", func() (any, error) { return c.SendMessage(ctx, SendMessage{ChatID: 1, Text: "x"}) }, Message{ID: 77}, `{"chat_id":1,"text":"x"}`},
		{"editMessageText", func() (any, error) {
			return nil, c.EditMessageText(ctx, EditMessageText{ChatID: 1, MessageID: 2, Text: "x"})
		}, nil, `{"chat_id":1,"message_id":2,"text":"x"}`},
		{"sendChatAction", func() (any, error) { return nil, c.SendChatAction(ctx, 1, 4, "typing") }, nil, `{"chat_id":1,"message_thread_id":4,"action":"typing"}`},
		{"answerCallbackQuery", func() (any, error) { return nil, c.AnswerCallbackQuery(ctx, "q", "ok") }, nil, `{"callback_query_id":"q","text":"ok"}`},
		{"setMessageReaction", func() (any, error) { return nil, c.SetMessageReaction(ctx, 1, 2, "👀") }, nil, `{"chat_id":1,"message_id":2,"reaction":[{"type":"emoji","emoji":"👀"}]}`},
		{"setMessageReaction", func() (any, error) { return nil, c.SetMessageReaction(ctx, 1, 2, "") }, nil, `{"chat_id":1,"message_id":2,"reaction":[]}`},
		{"deleteWebhook", func() (any, error) { return nil, c.DeleteWebhook(ctx) }, nil, `{"drop_pending_updates":false}`},
	} {
		t.Run(tt.method, func(t *testing.T) {
			result, err := tt.do()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.result, result); diff != "" {
				t.Error(diff)
			}
			if wire.path != "/api/bot"+sentinel+"/"+tt.method {
				t.Errorf("path %s", wire.path)
			}
			if got := strings.TrimSpace(wire.body); got != tt.body {
				t.Errorf("body %s", got)
			}
			noToken(t, result)
		})
	}
}

func TestSendDocumentIsMultipart(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil || r.ContentLength <= 0 {
			t.Errorf("not multipart with a length: %v, %d", err, r.ContentLength)
		}
		file, header, err := r.FormFile("document")
		if err != nil {
			t.Error(err)
			return
		}
		content, _ := io.ReadAll(file)
		if string(content) != "the\x00whole\r\nanswer" || header.Filename != "answer.md" {
			t.Errorf("got %q as %q", content, header.Filename)
		}
		want := map[string][]string{"chat_id": {"-5"}, "message_thread_id": {"6"}, "caption": {"all of it"}, "reply_parameters": {`{"message_id":7,"allow_sending_without_reply":true}` + "\n"}}
		if diff := cmp.Diff(want, r.MultipartForm.Value); diff != "" {
			t.Error(diff)
		}
		answer(`{"ok":true,"result":{"message_id":12}}`)(w, r)
	})
	got, err := c.SendDocument(t.Context(), SendDocument{ChatID: -5, TopicID: 6, ReplyTo: 7, FileName: "answer.md", Caption: "all of it", Content: []byte("the\x00whole\r\nanswer")})
	if err != nil || got.ID != 12 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := serve(t, reply(413, "text/html", "")).SendDocument(t.Context(), SendDocument{ChatID: 1, FileName: "x"}); err == nil {
		t.Error("413 is a success")
	}
}

func TestEditThatChangesNothingIsASuccess(t *testing.T) {
	refuse := func(description string) *Client {
		return serve(t, reply(400, "application/json", `{"ok":false,"error_code":400,"description":"Bad Request: `+description+`"}`))
	}
	edit := EditMessageText{ChatID: 1, MessageID: 2, Text: "x"}
	if err := refuse("message is not modified: specified new message content is the same").EditMessageText(t.Context(), edit); err != nil {
		t.Error(err)
	}
	if err := refuse("message to edit not found").EditMessageText(t.Context(), edit); err == nil {
		t.Error("an edit of nothing is a success")
	}
}

func TestReadsAreRetriedAndSendsAreNot(t *testing.T) {
	const ok = `200 {"ok":true,"result":{"id":5}}`
	const limited = `429 {"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":30}}`
	for _, tt := range []struct {
		name    string
		answers []string
		calls   int32
		fails   bool
		took    time.Duration
	}{
		{"success at once", []string{ok}, 1, false, 0},
		{"two server errors", []string{"502 <html>", "500 ", ok}, 3, false, 750 * time.Millisecond},
		{"three server errors", []string{"502 <html>", "502 ", "503 ", ok}, 3, true, 750 * time.Millisecond},
		{"a rate limit waits as long as it says", []string{limited, ok}, 2, false, 30 * time.Second},
		{"a rate limit that does not say takes the backoff", []string{"429 ", ok}, 2, false, 250 * time.Millisecond},
		{"a refusal", []string{`401 {"ok":false,"error_code":401,"description":"Unauthorized"}`, ok}, 1, true, 0},
		{"a conflict", []string{`409 {"ok":false,"error_code":409,"description":"Conflict"}`, ok}, 1, true, 0},
		{"a page that is not JSON", []string{"200 <html>", ok}, 1, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := &canned{answers: map[string][]string{"getMe": tt.answers, "sendMessage": {"502 x"}}}
				var retries []string
				c := client(t, "http://localhost", func(o *Options) {
					o.Transport, o.Retries = wire, nil
					o.OnRetry = func(operation string) { retries = append(retries, operation) }
				})
				start := time.Now()
				_, err := c.GetMe(t.Context())
				if (err != nil) != tt.fails || wire.calls.Load() != tt.calls || time.Since(start) != tt.took || len(retries) != int(tt.calls)-1 {
					t.Errorf("error %v after %d calls, %v, retries %v", err, wire.calls.Load(), time.Since(start), retries)
				}
				wire.calls.Store(0)
				if _, err := c.SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "x"}); err == nil || wire.calls.Load() != 1 {
					t.Errorf("error %v after %d sends", err, wire.calls.Load())
				}
			})
		})
	}
}

func TestWaitBeforeARetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &canned{answers: map[string][]string{"getUpdates": {`429 {"ok":false,"error_code":429,"parameters":{"retry_after":3600}}`}}}
		c := client(t, "http://localhost", func(o *Options) { o.Transport, o.Retries = wire, nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.GetUpdates(ctx, GetUpdates{})
		check(t, err, Error{Operation: "getUpdates", Kind: KindTimeout, Retry: RetryTransient})
	})
}

func TestReadsRefuseOtherResults(t *testing.T) {
	for _, result := range []string{"[]", "true", "null", `"x"`, "{}", `{"id":"5"}`, `{"id":0}`} {
		wire := &canned{answers: map[string][]string{"getMe": {`200 {"ok":true,"result":` + result + `}`}, "getWebhookInfo": {`200 {"ok":true,"result":` + result + `}`}}}
		c := client(t, "http://localhost", func(o *Options) { o.Transport = wire })
		_, err := c.GetMe(t.Context())
		check(t, err, Error{Operation: "getMe", Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true})
		_, err = c.GetWebhookInfo(t.Context())
		check(t, err, Error{Operation: "getWebhookInfo", Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true})
	}
}

func TestNewRefuses(t *testing.T) {
	token := func() string { return sentinel }
	for _, o := range []Options{
		{}, {Token: func() string { return "" }},
		{Token: token, BaseURL: "api.telegram.org"}, {Token: token, BaseURL: "ftp://x"}, {Token: token, BaseURL: "http://"},
		{Token: token, BaseURL: "http://u:" + sentinel + "@x"}, {Token: token, BaseURL: "http://x?" + sentinel}, {Token: token, BaseURL: "http://x/\x00" + sentinel},
	} {
		_, err := New(o)
		if err == nil {
			t.Errorf("%q is accepted", o.BaseURL)
			continue
		}
		noToken(t, err)
	}
}

func TestTokenOfAnyFormReachesTheServerAndStaysOutOfErrors(t *testing.T) {
	const odd = "a/b c?%SENTINEL\n"
	var path string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		reply(401, "application/json", `{"ok":false,"error_code":401,"description":"`+r.URL.EscapedPath()+`"}`)(w, r)
	}, func(o *Options) { o.Token = func() string { return odd } })
	_, err := c.GetMe(t.Context())
	noToken(t, err)
	if path != "/bot"+odd+"/getMe" {
		t.Errorf("path %q", path)
	}
}
