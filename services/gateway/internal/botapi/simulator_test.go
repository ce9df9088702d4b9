package botapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/internal/telegramsim"
)

// The client against a Bot API server: what one sends, the other understands.
func TestAgainstTheSimulator(t *testing.T) {
	server, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := botapi.New(botapi.Options{Token: func() string { return telegramsim.DefaultToken }, BaseURL: server.URL, Retries: []time.Duration{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	me, err := c.GetMe(ctx)
	must(err)
	if me != (botapi.User{ID: 1000000, Username: "telecodex_bot"}) {
		t.Errorf("%+v", me)
	}

	in := server.Inject(telegramsim.Incoming{ChatID: -7, TopicID: 3, Text: "<question> 😀"})
	updates, err := c.GetUpdates(ctx, botapi.GetUpdates{Timeout: 50 * time.Second, AllowedUpdates: []string{"message", "callback_query"}})
	must(err)
	if len(updates) != 1 || updates[0].ID != in.UpdateID {
		t.Fatalf("%+v", updates)
	}
	must(c.SendChatAction(ctx, -7, 3, "typing"))
	must(c.SetMessageReaction(ctx, -7, in.MessageID, "👀"))
	message, err := c.SendMessage(ctx, botapi.SendMessage{ChatID: -7, TopicID: 3, Text: "<b>😀", ReplyTo: in.MessageID, DisableLinkPreview: true,
		Entities: []botapi.Entity{{Type: "bold", Offset: 3, Length: 2}}})
	must(err)
	edit := botapi.EditMessageText{ChatID: -7, MessageID: message.ID, Text: "edited"}
	must(c.EditMessageText(ctx, edit))
	must(c.EditMessageText(ctx, edit))
	_, err = c.SendDocument(ctx, botapi.SendDocument{ChatID: -7, TopicID: 3, ReplyTo: in.MessageID, FileName: "answer.md", Content: []byte("all"), Caption: "c"})
	must(err)
	press := server.InjectCallback(telegramsim.Callback{ChatID: -7, MessageID: message.ID, Data: "x"})
	must(c.AnswerCallbackQuery(ctx, press.CallbackID, "done"))

	sent := server.Messages(-7)
	if len(sent) != 2 || sent[0].Text != "edited" || sent[0].ReplyTo != in.MessageID || sent[0].TopicID != 3 ||
		string(sent[1].Document.Content) != "all" || sent[1].ReplyTo != in.MessageID || sent[1].Text != "c" {
		t.Errorf("%+v", sent)
	}

	server.DeleteTopic(-7, 3)
	_, err = c.SendMessage(ctx, botapi.SendMessage{ChatID: -7, TopicID: 3, Text: "x"})
	if failure := (*botapi.Error)(nil); !errors.As(err, &failure) || !failure.ThreadNotFound() {
		t.Errorf("%v", err)
	}
	server.SetWebhook("https://example.org")
	_, err = c.GetUpdates(ctx, botapi.GetUpdates{})
	if failure := (*botapi.Error)(nil); !errors.As(err, &failure) || !failure.Conflict() {
		t.Errorf("%v", err)
	}
	must(c.DeleteWebhook(ctx))
	if info, err := c.GetWebhookInfo(ctx); err != nil || info.Set || info.Pending != 2 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestDoubtAgainstTheSimulator(t *testing.T) {
	server, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, tt := range []struct {
		name    string
		fault   telegramsim.Fault
		inDoubt bool
	}{
		{"a reset after it was carried out", telegramsim.Fault{Reset: true, Execute: true}, true},
		{"a body that ends early", telegramsim.Fault{TruncateBody: true, Execute: true}, true},
		{"JSON that ends early", telegramsim.Fault{TruncateJSON: true, Execute: true}, true},
		{"an HTML page", telegramsim.Fault{HTML: true, Execute: true}, true},
		{"an answer that is too late", telegramsim.Fault{DelayMS: 60_000, Execute: true}, true},
		{"429", telegramsim.Fault{RetryAfter: 5}, false},
		{"403", telegramsim.Fault{Status: http.StatusForbidden}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := 10 * time.Second
			if tt.fault.DelayMS > 0 {
				limit = 100 * time.Millisecond
			}
			c, err := botapi.New(botapi.Options{Token: func() string { return telegramsim.DefaultToken }, BaseURL: server.URL, RequestTimeout: limit})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			server.ClearFaults()
			server.Fail(tt.fault)
			_, err = c.SendMessage(t.Context(), botapi.SendMessage{ChatID: 1, Text: "x"})
			failure := (*botapi.Error)(nil)
			if !errors.As(err, &failure) || failure.InDoubt != tt.inDoubt || strings.Contains(err.Error(), "TEST-TOKEN") {
				t.Errorf("%+v", err)
			}
		})
	}
}
