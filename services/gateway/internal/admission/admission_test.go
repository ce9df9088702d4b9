package admission_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"telecodex.dev/services/gateway/internal/admission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is an update with a message; "field" or "field=JSON" pairs take fields
// away or set them.
func message(pairs ...string) []byte {
	fields := map[string]json.RawMessage{
		"message_id": json.RawMessage("5"),
		"date":       json.RawMessage("1772366400"),
		"chat":       json.RawMessage(`{"id": 1000, "type": "private"}`),
		"from":       json.RawMessage(`{"id": 7, "is_bot": false, "first_name": "Ada"}`),
		"text":       json.RawMessage(`"hello"`),
	}
	for _, pair := range pairs {
		name, value, set := strings.Cut(pair, "=")
		if delete(fields, name); set {
			fields[name] = json.RawMessage(value)
		}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"update_id": 100000001, "message": %s}`, body)
}

func callback(data string) []byte {
	return fmt.Appendf(nil, `{"update_id": 9, "callback_query": {"id": "77", "from": {"id": 7, "is_bot": false}, "chat_instance": "1",
		"message": {"message_id": 3, "date": 1772366400, "chat": {"id": 1000, "type": "private"}, "text": "what now?"}, "data": %q}}`, data)
}

const inGroup = `chat={"id": -100123, "type": "supergroup"}`

var gate = admission.NewGate(admission.Policy{Allowed: []string{"1000", "-100123"}, Username: "Telecodex_Bot"})

func TestParseReadsAMessage(t *testing.T) {
	got, err := admission.Parse(message(inGroup, "message_thread_id=12", "is_topic_message=true", `text="/New@telecodex_bot  fix\nit "`))
	if err != nil {
		t.Fatal(err)
	}
	want := admission.Update{ID: 100000001, Kind: admission.Message, ChatID: -100123, ChatType: "supergroup", TopicID: 12, MessageID: 5,
		FromID: 7, Date: time.Unix(1772366400, 0).UTC(), Text: "/New@telecodex_bot  fix\nit ", Command: "new",
		CommandBot: "telecodex_bot", Args: "fix\nit"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(want, "Digest"), cmpopts.IgnoreUnexported(want)); diff != "" {
		t.Error(diff)
	}
	if got.Private() || len(got.Digest) != 64 {
		t.Errorf("private %v, digest %q", got.Private(), got.Digest)
	}
}

func TestASupergroupIsAllowedAsTheGroupThatItWas(t *testing.T) {
	zero := admission.NewGate(admission.Policy{Allowed: []string{"0", "-5"}})
	for origin, want := range map[int64]admission.Verdict{0: admission.Drop, -6: admission.Drop, -5: admission.Accept} {
		u, err := admission.Parse(message(`chat={"id": -1005, "type": "supergroup"}`))
		u.Origin = origin
		if got := zero.Judge(u).Verdict; got != want || err != nil {
			t.Errorf("the group was %d: %v, %v", origin, got, err)
		}
	}
}

func TestAThreadOutsideOfTopicsIsNone(t *testing.T) {
	got, err := admission.Parse(message(inGroup, "message_thread_id=12"))
	if err != nil || got.TopicID != 0 {
		t.Errorf("topic %d, %v", got.TopicID, err)
	}
}

func TestJudgement(t *testing.T) {
	type d = admission.Decision
	accept := func(action admission.Action, text string) d {
		return d{Verdict: admission.Accept, Action: action, Text: text}
	}
	skip := func(reason string) d { return d{Verdict: admission.Skip, Reason: reason} }
	const unsupported = "the type of update is not supported"
	for _, tt := range []struct {
		name string
		raw  []byte
		want d
	}{
		{"a prompt", message(), accept(admission.Prompt, "hello")},
		{"a prompt in a group", message(inGroup), accept(admission.Prompt, "hello")},
		{"an unknown command", message(`text="/review all"`), accept(admission.Prompt, "/review all")},
		{"a path", message(`text="/etc/hosts is wrong"`), accept(admission.Prompt, "/etc/hosts is wrong")},
		{"a command within a text", message(`text="say /new"`), accept(admission.Prompt, "say /new")},
		{"new", message(`text="/new"`), accept(admission.New, "")},
		{"new with a prompt", message(`text="/new try again"`), accept(admission.New, "try again")},
		{"cancel", message(`text="/CANCEL"`), accept(admission.Cancel, "")},
		{"status", message(`text="/status@telecodex_bot"`), accept(admission.Status, "")},
		{"help", message(`text="/help\n"`), accept(admission.Help, "")},
		{"start", message(`text="/start"`), accept(admission.Help, "")},
		{"resume", message(`text="/resume now"`), accept(admission.Resolve, "resume")},
		{"again", message(`text="/again"`), accept(admission.Resolve, "again")},
		{"drop", message(inGroup, `text="/drop@TELECODEX_BOT"`), accept(admission.Resolve, "drop")},
		{"another bot's command in a group", message(inGroup, `text="/new@other_bot"`), skip("the command is for another bot")},
		{"another bot's unknown command in a group", message(inGroup, `text="/weather@other_bot"`), skip("the command is for another bot")},
		{"another bot's command in private", message(`text="/new@other_bot"`), accept(admission.Prompt, "/new@other_bot")},
		{"a button", callback("resume:1-1-5-1"), d{Verdict: admission.Accept, Action: admission.Resolve, Text: "resume", TurnID: "1-1-5-1"}},
		{"a foreign button", callback("buy:1"), skip("the button is not known")},
		{"a button without a turn", callback("drop:"), skip("the button is not known")},
		{"a button that is another command", callback("new:1-1-5-1"), skip("the button is not known")},
		{"a stranger", message(`chat={"id": 1001, "type": "private"}`), d{Reason: "chat_id not allowlisted (1001)", Verdict: admission.Drop}},
		{"a stranger's command", message(`chat={"id": -5, "type": "group"}`, `text="/help"`),
			d{Reason: "chat_id not allowlisted (-5)", Verdict: admission.Drop}},
		{"a stranger's photo", message(`chat={"id": 1001, "type": "private"}`, "text", "photo=[]"), skip("attachments are not supported")},
		{"a bot", message(`from={"id": 8, "is_bot": true}`), skip("the sender is a bot")},
		{"nobody", message("from"), skip("the message has no sender")},
		{"a channel's post in its group", message(inGroup, "is_automatic_forward=true"), skip("the message was forwarded automatically")},
		{"no text", message("text"), skip("the message has no text")},
		{"blanks", message(`text=" \n\u0000"`), skip("the message has no text")},
		{"a photo with a caption", message("text", "photo=[]", `caption="look"`), skip("attachments are not supported")},
		{"a voice message", message("text", "voice={}"), skip("attachments are not supported")},
		{"somebody joined", message("text", "new_chat_members=[]"), skip("the message has no text")},
		{"an edited message", []byte(`{"update_id": 1, "edited_message": {"text": "x"}}`), skip(unsupported)},
		{"a channel post", []byte(`{"update_id": 1, "channel_post": {}}`), skip(unsupported)},
		{"a type of tomorrow", []byte(`{"update_id": 1, "brain_wave": [1]}`), skip(unsupported)},
		{"nothing but an id", []byte(`{"update_id": 1}`), skip(unsupported)},
		{"an inline message's button", []byte(`{"update_id": 1, "callback_query": {"id": "1", "from": {"id": 7}, "data": "drop:x"}}`),
			skip("the button does not belong to a message of a chat")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := admission.Parse(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, gate.Judge(u)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBrokenShapesKeepTheirId(t *testing.T) {
	const shape, id, object = "the update is not of the shape its type requires", "the update has no usable update_id", "the update is not a JSON object"
	for raw, want := range map[string]string{
		`{"update_id": 4, "message": null}`:                            shape,
		`{"update_id": 4, "message": "hello"}`:                         shape,
		`{"update_id": 4, "message": {"text": "hello"}}`:               shape,
		`{"update_id": 4, "message": [{}]}`:                            shape,
		`{"update_id": 4, "callback_query": {"id": 5}}`:                shape,
		`{"update_id": 4, "callback_query": {"id": "5", "data": "x"}}`: shape,
		string(message(`chat={"id": "1000", "type": "private"}`)):      shape,
		string(message(`chat={"type": "private"}`)):                    shape,
		string(message(`chat={"id": 1000}`)):                           shape,
		string(message("date")):                                        shape,
		string(message("date=-1")):                                     shape,
		string(message("text=5")):                                      shape,
		string(message("message_id=1.5")):                              shape,
		`{"message": {}}`:                                              id,
		`{"update_id": "4"}`:                                           id,
		`{"update_id": 4.5}`:                                           id,
		`{"update_id": -4}`:                                            id,
		`{"update_id": 9007199254740992}`:                              id,
		`{"update_id": 99999999999999999999}`:                          id,
		`[]`:                                                           object,
		`null`:                                                         object,
		`{"update_id": 4`:                                              object,
		``:                                                             object,
	} {
		u, err := admission.Parse([]byte(raw))
		var broken *admission.ShapeError
		if !errors.As(err, &broken) || broken.Reason != want {
			t.Errorf("%s: %v, want %q", raw, err, want)
			continue
		}
		if wantID := strings.Contains(raw, `"update_id": 4,`) || strings.Contains(raw, "100000001"); (u.ID != 0) != wantID || u.Digest == "" {
			t.Errorf("%s: id %d, digest %q", raw, u.ID, u.Digest)
		}
		if d := gate.Judge(u); d.Verdict != admission.Skip {
			t.Errorf("%s: judged %+v", raw, d)
		}
	}
}

func TestAllowlist(t *testing.T) {
	u, err := admission.Parse(message(`chat={"id": 7, "type": "private"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		policy admission.Policy
		want   admission.Verdict
	}{
		{admission.Policy{}, admission.Drop},
		{admission.Policy{Allowed: []string{"7"}}, admission.Accept},
		{admission.Policy{Allowed: []string{"1", " 007 "}}, admission.Accept},
		{admission.Policy{Allowed: []string{"+7"}}, admission.Accept},
		{admission.Policy{Allowed: []string{"-7", "77", "7.0", "0x7", "@ada", "*", ""}}, admission.Drop},
		{admission.Policy{Open: true}, admission.Accept},
		{admission.Policy{Open: true, Allowed: []string{"8"}}, admission.Drop},
	} {
		if got := admission.NewGate(tt.policy).Judge(u).Verdict; got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.policy, got, tt.want)
		}
	}
	var zero admission.Gate
	if got := zero.Judge(u).Verdict; got != admission.Drop {
		t.Errorf("the zero gate: %v", got)
	}
}

func TestDigestIsTheMessages(t *testing.T) {
	parse := func(raw []byte) string {
		u, _ := admission.Parse(raw)
		return u.Digest
	}
	original := parse(message())
	if again := parse(message("edit_date=5", `chat={"type": "private", "id": 1000, "title": "renamed"}`)); again != original {
		t.Error("the same message is not recognized")
	}
	seen := map[string]string{original: "original"}
	for name, raw := range map[string][]byte{
		"chat": message(`chat={"id": 1001, "type": "private"}`), "message": message("message_id=6"),
		"sender": message(`from={"id": 8}`), "date": message("date=1772366401"), "text": message(`text="hello!"`),
		"button": callback("drop:x"), "other": []byte(`{"update_id": 1}`), "broken": []byte(`{"update_id": 1, "message": 1}`),
	} {
		d := parse(raw)
		if other, known := seen[d]; known {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
}

func TestSessionIDs(t *testing.T) {
	for want, ids := range map[string][2]int64{"telegram:1000": {1000, 0}, "telegram:-100123": {-100123, 0}, "telegram:-100123:12": {-100123, 12}} {
		if got := admission.SessionID(ids[0], ids[1]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCallbackDataFitsIntoAButton(t *testing.T) {
	data := admission.CallbackData("resume", "9007199254740991-999-9007199254740991-9")
	if len(data) > 64 {
		t.Errorf("%q is %d bytes long", data, len(data))
	}
	u, err := admission.Parse(callback(data))
	if err != nil {
		t.Fatal(err)
	}
	if d := gate.Judge(u); d.TurnID != "9007199254740991-999-9007199254740991-9" || d.Text != "resume" {
		t.Errorf("judged %+v", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range [][]byte{message(), callback("drop:1-1-1-1"), message(inGroup, `text="/new@x y"`, "is_topic_message=true"),
		[]byte(`{"update_id":1,"message":{}}`), []byte(`{"update_id":1e3}`), []byte("{"), []byte(`{"update_id":1,"update_id":2}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := admission.Parse(raw)
		if len(u.Digest) != 64 || u.ID < 0 {
			t.Errorf("id %d, digest %q", u.ID, u.Digest)
		}
		d := gate.Judge(u)
		switch {
		case err != nil && (d.Verdict != admission.Skip || u.Kind != admission.Other || u.Text != ""):
			t.Errorf("a broken update is judged %+v", d)
		case d.Verdict == admission.Accept && (u.ChatID != 1000 && u.ChatID != -100123 || u.FromBot || u.FromID == 0 || d.Action == ""):
			t.Errorf("accepted %+v as %+v", u, d)
		case d.Verdict == admission.Accept && d.Action == admission.Prompt && strings.TrimSpace(d.Text) == "":
			t.Error("an empty prompt was accepted")
		case d.Verdict != admission.Accept && d.Reason == "":
			t.Error("no reason is given")
		case !utf8.ValidString(d.Reason) || !utf8.ValidString(u.Text):
			t.Error("the text is not UTF-8")
		}
	})
}
