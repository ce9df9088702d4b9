package telegramsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestSendMessage(t *testing.T) {
	b := start(t, Options{})
	question := b.Inject(Incoming{ChatID: -5, ChatType: "group", TopicID: 9, Text: "?"})
	a := b.call("sendMessage", fmt.Sprintf(`{"chat_id":-5,"message_thread_id":9,"text":" hi 😀\n","entities":[{"type":"bold","offset":4,"length":2}],"disable_notification":true,
		"reply_parameters":{"message_id":%d},"reply_markup":{"force_reply":true}}`, question.MessageID))
	var sent struct {
		ID     int64  `json:"message_id"`
		Text   string `json:"text"`
		Thread int64  `json:"message_thread_id"`
		Reply  struct {
			ID int64 `json:"message_id"`
		} `json:"reply_to_message"`
		From struct {
			Bot bool `json:"is_bot"`
		} `json:"from"`
		Chat struct {
			Type string `json:"type"`
		} `json:"chat"`
	}
	if err := json.Unmarshal(a.Result, &sent); err != nil || !a.OK {
		t.Fatalf("%+v, %v", a, err)
	}
	if sent.Text != "hi 😀" || sent.ID != question.MessageID+1 || sent.Thread != 9 || sent.Reply.ID != question.MessageID || !sent.From.Bot || sent.Chat.Type != "group" {
		t.Errorf("answered %s", a.Result)
	}
	m := b.Messages(-5)[0]
	if m.Text != " hi 😀\n" || m.Seq != 1 || m.TopicID != 9 || m.ReplyTo != question.MessageID || !m.Silent || len(m.Entities) == 0 || string(m.ReplyMarkup) != `{"force_reply":true}` || m.At.IsZero() {
		t.Errorf("kept %+v", m)
	}
}

func TestSendMessageIsChecked(t *testing.T) {
	b := start(t, Options{})
	emoji := strings.Repeat("😀", 2048)
	for _, ok := range []string{
		`"text":"` + strings.Repeat("x", 4096) + `"`, `"text":"` + emoji + `"`,
		`"text":"x","reply_parameters":{"message_id":99,"allow_sending_without_reply":true}`,
		`"text":"a😀b","entities":[{"type":"bold","offset":1,"length":2}]`,
		`"text":"a","entities":[` + strings.Repeat(`{"type":"bold","offset":0,"length":1},`, 100) + `{"type":"bold","offset":90,"length":1}]`,
	} {
		if a := b.call("sendMessage", `{"chat_id":1,`+ok+`}`); !a.OK {
			t.Errorf("%.100s: %+v", ok, a)
		}
	}
	if m := b.Messages(1)[2]; m.ReplyTo != 0 {
		t.Errorf("a reply to nothing: %+v", m)
	}
	for _, tt := range []struct{ params, description string }{
		{`"text":""`, "message text is empty"},
		{`"text":" \n\t\u200b\u2060\u0000"`, "message text is empty"},
		{`"text":"` + strings.Repeat("x", 4097) + `"`, "message is too long"},
		{`"text":"` + emoji + `x"`, "message is too long"},
		{`"text":"x","parse_mode":"HTML"`, "send entities"},
		{`"text":"x","entities":{}`, "can't parse entities"},
		{`"text":"x","entities":[{"offset":0,"length":1}]`, "no type"},
		{`"text":"x","entities":[{"type":"bold","offset":0,"length":0}]`, "incorrect offset or length"},
		{`"text":"x","entities":[{"type":"bold","offset":1,"length":1}]`, "begins after the end"},
		{`"text":"x","entities":[{"type":"bold","offset":0,"length":2}]`, "ends after the end"},
		{`"text":"😀","entities":[{"type":"bold","offset":1,"length":1}]`, "begins in a middle of a UTF-16 symbol"},
		{`"text":"😀","entities":[{"type":"bold","offset":0,"length":1}]`, "ends in a middle of a UTF-16 symbol"},
		{`"text":"x","reply_parameters":{"message_id":99}`, "message to be replied not found"},
		{`"text":"x","reply_parameters":[]`, "can't parse reply parameters"},
		{`"text":"x","message_thread_id":4`, "message thread not found"},
	} {
		b.refused("sendMessage", `{"chat_id":1,`+tt.params+`}`, tt.description)
	}
	b.refused("sendMessage", `{"text":"x"}`, "chat_id is empty")
	b.Inject(Incoming{ChatID: -2, TopicID: 4, Text: "x"})
	b.DeleteTopic(-2, 4)
	b.refused("sendMessage", `{"chat_id":-2,"text":"x","message_thread_id":4}`, "message thread not found")
}

func TestParametersComeInEveryEncoding(t *testing.T) {
	b := start(t, Options{})
	path := "/bot" + DefaultToken + "/sendMessage"
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("chat_id", "3")
	w.WriteField("text", "x")
	w.Close()
	for _, tt := range []struct{ query, kind, body string }{
		{"", "application/x-www-form-urlencoded", "chat_id=1&text=x"},
		{"?chat_id=2&text=" + url.QueryEscape("x"), "", ""},
		{"", w.FormDataContentType(), form.String()},
		{"", "application/json; charset=utf-8", `{"chat_id":"4","text":"x","entities":null}`},
	} {
		if a, err := b.post(t.Context(), path+tt.query, tt.kind, strings.NewReader(tt.body)); err != nil || !a.OK {
			t.Errorf("%s %s: %+v, %v", tt.query, tt.kind, a, err)
		}
	}
	if n := len(b.Messages(0)); n != 4 {
		t.Errorf("%d messages", n)
	}
}

func TestEditMessageText(t *testing.T) {
	b := start(t, Options{})
	in := b.Inject(Incoming{ChatID: 1, Text: "?"})
	b.call("sendMessage", `{"chat_id":1,"text":"one"}`)
	edit := func(id int64, text string) string {
		return fmt.Sprintf(`{"chat_id":1,"message_id":%d,"text":%q}`, id, text)
	}
	if a := b.call("editMessageText", edit(2, "two")); !a.OK {
		t.Errorf("%+v", a)
	}
	b.refused("editMessageText", edit(2, "two"), "message is not modified")
	b.refused("editMessageText", edit(2, " two "), "message is not modified")
	b.refused("editMessageText", edit(2, ""), "message text is empty")
	b.refused("editMessageText", edit(in.MessageID, "x"), "message can't be edited")
	b.refused("editMessageText", edit(77, "x"), "message to edit not found")
	if m := b.Messages(1)[0]; m.Text != "two" || m.EditedAt.IsZero() || len(m.Earlier) != 1 || m.Earlier[0] != "one" {
		t.Errorf("%+v", m)
	}
}

func (b *bot) upload(fields map[string]string, name string, content []byte) answer {
	b.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for k, v := range fields {
		w.WriteField(k, v)
	}
	if name != "" {
		part, err := w.CreateFormFile("document", name)
		if err != nil {
			b.t.Fatal(err)
		}
		part.Write(content)
	}
	w.Close()
	a, err := b.post(b.t.Context(), "/bot"+DefaultToken+"/sendDocument", w.FormDataContentType(), &form)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func TestSendDocumentKeepsTheContent(t *testing.T) {
	b := start(t, Options{})
	content := bytes.Repeat([]byte("all\x00of\r\nit"), 100_000)
	if a := b.upload(map[string]string{"chat_id": "1", "caption": "the answer"}, "answer.md", content); !a.OK || !strings.Contains(string(a.Result), `"file_name":"answer.md","file_size":1000000`) {
		t.Errorf("%+v", a)
	}
	m := b.Messages(1)[0]
	if m.Document == nil || m.Document.Name != "answer.md" || !bytes.Equal(m.Document.Content, content) || m.Text != "the answer" {
		t.Error("the document is another")
	}
	b.refused("editMessageText", `{"chat_id":1,"message_id":1,"text":"x"}`, "no text in the message")
	for _, tt := range []struct {
		fields  map[string]string
		name    string
		content string
		want    string
	}{
		{map[string]string{"chat_id": "1"}, "", "", "no document"},
		{map[string]string{"chat_id": "1"}, "x", "", "non-empty"},
		{map[string]string{"chat_id": "1", "caption": strings.Repeat("x", 1025)}, "x", "y", "caption is too long"},
		{map[string]string{"chat_id": "1", "message_thread_id": "3"}, "x", "y", "thread not found"},
	} {
		if a := b.upload(tt.fields, tt.name, []byte(tt.content)); a.Code != 400 || !strings.Contains(a.Description, tt.want) {
			t.Errorf("%s: %+v", tt.want, a)
		}
	}
}

func TestActionsReactionsAndCallbacks(t *testing.T) {
	b := start(t, Options{})
	in := b.Inject(Incoming{ChatID: -1, TopicID: 2, Text: "?"})
	b.call("sendChatAction", `{"chat_id":-1,"message_thread_id":2,"action":"typing"}`)
	b.refused("sendChatAction", `{"chat_id":-1,"action":"sleeping"}`, "wrong parameter action")
	b.refused("sendChatAction", `{"chat_id":-1,"message_thread_id":8,"action":"typing"}`, "thread not found")
	if actions := b.Actions(-1); len(actions) != 1 || actions[0].Action != "typing" || actions[0].TopicID != 2 {
		t.Errorf("%+v", actions)
	}

	react := func(id int64, list string) string {
		return fmt.Sprintf(`{"chat_id":-1,"message_id":%d,"reaction":%s}`, id, list)
	}
	b.call("setMessageReaction", react(in.MessageID, `[{"type":"emoji","emoji":"👀"}]`))
	if got := b.Reaction(-1, in.MessageID); got != "👀" {
		t.Errorf("reaction %q", got)
	}
	b.call("setMessageReaction", react(in.MessageID, `[]`))
	if got := b.Reaction(-1, in.MessageID); got != "" {
		t.Errorf("reaction %q", got)
	}
	b.refused("setMessageReaction", react(99, `[]`), "message to react not found")
	b.refused("setMessageReaction", react(in.MessageID, `7`), "can't parse reaction")

	b.call("sendMessage", `{"chat_id":-1,"text":"buttons"}`)
	press := b.InjectCallback(Callback{ChatID: -1, MessageID: 2, Data: "drop"})
	if got := string(b.call("getUpdates", `{"offset":-1}`).Result); !strings.Contains(got, `"data":"drop"`) || !strings.Contains(got, `"text":"buttons"`) || !strings.Contains(got, press.CallbackID) {
		t.Errorf("update %s", got)
	}
	if a := b.call("answerCallbackQuery", `{"callback_query_id":"`+press.CallbackID+`"}`); !a.OK {
		t.Errorf("%+v", a)
	}
	b.refused("answerCallbackQuery", `{"callback_query_id":"0"}`, "query is too old")
}

func TestIncomingMessages(t *testing.T) {
	b := start(t, Options{})
	b.Inject(Incoming{ChatID: 7, Username: "ann", FirstName: "Ann", Text: "hello", Date: 1_700_000_000, ReplyTo: 3})
	b.Inject(Incoming{ChatID: -7, Bot: true, UserID: 55, Edited: true})
	got := string(b.call("getUpdates", `{}`).Result)
	for _, want := range []string{
		`"message":{"chat":{"first_name":"Test","id":7,"type":"private"},"date":1700000000,"from":{"first_name":"Ann","id":7,"is_bot":false,"username":"ann"},"message_id":1,"reply_to_message":{`,
		`"edited_message":{"chat":{"id":-7,"title":"Test","type":"supergroup"},`, `"from":{"first_name":"Test","id":55,"is_bot":true}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

func TestWaitAndFollow(t *testing.T) {
	b := start(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	followed := make(chan int)
	go func() {
		seen := 0
		for m := range b.Follow(ctx, 0) {
			seen += m.Seq
			if m.Text == "last" {
				break
			}
		}
		followed <- seen
	}()
	for _, text := range []string{"1", "2", "last"} {
		b.call("sendMessage", `{"chat_id":1,"text":"`+text+`"}`)
	}
	b.call("sendMessage", `{"chat_id":2,"text":"elsewhere"}`)
	if seen := <-followed; seen != 6 {
		t.Errorf("followed to %d", seen)
	}
	if found, err := b.WaitForMessages(ctx, 1, 3); err != nil || len(found) != 3 {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := b.WaitForCalls(ctx, CallFilter{Method: "sendMessage", After: 1}, 3); err != nil || len(found) != 3 || found[0].Status != 200 {
		t.Errorf("%v, %v", found, err)
	}
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if found, err := b.WaitForMessages(short, 1, 4); err == nil || len(found) != 3 {
		t.Errorf("%v, %v", found, err)
	}
	b.Sim.Close()
	if _, err := b.WaitForMessages(ctx, 1, 4); err != errClosed {
		t.Errorf("%v", err)
	}
}
