package evidence

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const (
	token = "7000000001:AAExampleTokenThatNobodyHas-1234_5"
	chat  = "4711"
	topic = "4711:99"
	user  = "815"
	text  = "what the person wrote"
)

// leaky is a report that shows everything that must not be seen, wherever it can.
const leaky = `{
	"status": "ok", "reason": "processed", "fetched_count": 1, "error_count": 2,
	"errors": ["telegram:4711:99 failed for 4711 and 815", "https://api.telegram.org/bot` + token + `/getMe: ` + text + `"],
	"error_details": [{"code": "codex-timeout", "message": "AAExampleTokenThatNobodyHas-1234_5 4711,4711;-4711", "retryable": true,
		"source": "x", "category": "error", "diagnostic_id": "d3d094da4cba6308",
		"context": {"update_id": "100000002", "chat_id": 4711, "user_id": "815", "session_id": "telegram:4711:99", "layer": "gate", "operation": "o",
			"prompt": "` + text + `"}}],
	"dropped_updates": [{"update_id": "100000003", "chat_id": "1234", "reason": "chat_id not allowlisted (1234)"}],
	"telemetry": {"contract": "tg-live.runtime.telemetry", "version": "2.0", "counters": {"fetch_total": 1, "queue_depth": 123456789},
		"timers_ms": {"cycle_total": 4711}, "heartbeat": {"emit_state": "disabled"}, "placeholders": {"queue_depth": "measured"}},
	"extra": "` + text + `", "raw": {"chat_id": 4711}
}`

func redactor() *Redactor {
	r := &Redactor{}
	r.Know(Secrets{Tokens: []string{token}, Chats: []string{chat}, Users: []string{user}, Texts: []string{text, "ok"}})
	return r
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var report map[string]any
	if err := decoder.Decode(&report); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return report
}

func TestReportIsRedactedByStructure(t *testing.T) {
	got, err := redactor().Report(decode(t, leaky))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "dropped_updates": [
    {
      "chat_id": "<REDACTED_CHAT_ID>",
      "reason": "chat_id not allowlisted (<REDACTED_CHAT_ID>)",
      "update_id": "<REDACTED_NUMERIC_ID>"
    }
  ],
  "error_count": 2,
  "error_details": [
    {
      "category": "error",
      "code": "codex-timeout",
      "context": {
        "chat_id": "<REDACTED_CHAT_ID>",
        "layer": "gate",
        "operation": "o",
        "session_id": "telegram:<REDACTED_CHAT_ID>",
        "update_id": "<REDACTED_NUMERIC_ID>",
        "user_id": "<REDACTED_USER_ID>"
      },
      "diagnostic_id": "d3d094da4cba6308",
      "message": "<REDACTED> <REDACTED_CHAT_ID>,<REDACTED_CHAT_ID>;-<REDACTED_CHAT_ID>",
      "retryable": true,
      "source": "x"
    }
  ],
  "errors": [
    "telegram:<REDACTED_CHAT_ID> failed for <REDACTED_CHAT_ID> and <REDACTED_USER_ID>",
    "https://api.telegram.org/bot<REDACTED>/getMe: <REDACTED>"
  ],
  "fetched_count": 1,
  "reason": "processed",
  "status": "ok",
  "telemetry": {
    "contract": "tg-live.runtime.telemetry",
    "counters": {
      "fetch_total": 1,
      "queue_depth": "<REDACTED_NUMERIC_ID>"
    },
    "heartbeat": {
      "emit_state": "disabled"
    },
    "placeholders": {
      "queue_depth": "measured"
    },
    "timers_ms": {
      "cycle_total": 4711
    },
    "version": "2.0"
  }
}
`
	if string(got) != want {
		t.Errorf("redacted:\n%s", got)
	}
}

// A report that is from another program, or a later one, says nothing either.
func TestWhatIsNotKnownIsNotKept(t *testing.T) {
	r := &Redactor{}
	got, err := r.Report(decode(t, `{"status":"a sentence with `+strings.Repeat("x", 80)+`","code":{"chat_id":5},"new_key":"secret",
		"context":["secret"],"counters":"secret","errors":[{"user_id":7,"name":"secret"}],"chat_id":null,"session_id":""}`))
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, `{"status":"<REDACTED>","code":{"chat_id":"<REDACTED_CHAT_ID>"},"context":["<REDACTED>"],"counters":"<REDACTED>",
		"errors":[{"user_id":"<REDACTED_USER_ID>"}],"chat_id":null,"session_id":""}`)
	var compact, wanted bytes.Buffer
	_ = json.Compact(&compact, got)
	text, _ := json.Marshal(want)
	_ = json.Compact(&wanted, text)
	if unescaped := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(wanted.String()); compact.String() != unescaped {
		t.Errorf("redacted %s, want %s", compact.String(), unescaped)
	}
}

// What is kept by structure may hold a secret all the same.
func TestSecretsAreFoundInWhatIsKept(t *testing.T) {
	for _, key := range keptWords {
		for secret, want := range map[string]string{
			text:                                 redacted,
			"it says " + text + ".":              "it says " + redacted + ".",
			"AAExampleTokenThatNobodyHas-1234_5": redacted,
			chat:                                 redactedChat,
			"chat " + chat + " of " + user:       "chat " + redactedChat + " of " + redactedUser,
			"adapter-fetch-exception":            "adapter-fetch-exception",
		} {
			got, err := redactor().Report(map[string]any{key: secret})
			if err != nil || decode(t, string(got))[key] != any(want) {
				t.Errorf("%s: %q became %s, %v; want %q", key, secret, got, err, want)
			}
			if leaks := redactor().Leaks([]byte(`{"` + key + `":"` + secret + `"}`)); leaks != (secret != want) {
				t.Errorf("%s: %q is a leak: %v", key, secret, leaks)
			}
		}
	}
}

func TestText(t *testing.T) {
	r := redactor()
	for _, tt := range []struct{ text, want string }{
		{"token " + token, "token <REDACTED>"},
		{"another 123:ABCDEFGHIJK-lmnop", "another <REDACTED>"},
		{"chat 4711, not 47110 and not a4711", "chat <REDACTED_CHAT_ID>, not 47110 and not a4711"},
		{"4711 4711 4711", "<REDACTED_CHAT_ID> <REDACTED_CHAT_ID> <REDACTED_CHAT_ID>"},
		{"telegram:" + topic + " and telegram:-100200", "telegram:<REDACTED_CHAT_ID> and telegram:<REDACTED_CHAT_ID>"},
		{"id 123456789", "id <REDACTED_NUMERIC_ID>"},
		{"it is ok", "it is ok"},
		{"", ""},
	} {
		if got := r.Text(tt.text); got != tt.want {
			t.Errorf("%q became %q, want %q", tt.text, got, tt.want)
		}
	}
}

// The protocol's own command finds nothing more to redact.
func TestProtocolsCommandFindsNothingMore(t *testing.T) {
	sed, err := exec.LookPath("sed")
	if err != nil {
		t.Skip("this system has no sed")
	}
	got, err := redactor().Report(decode(t, leaky))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(sed, "-E", "-e", `s/[0-9]{8,}/<REDACTED_NUMERIC_ID>/g`, "-e", `s/(bot)[A-Za-z0-9:_-]+/\1<REDACTED>/g`)
	command.Stdin = bytes.NewReader(got)
	again, err := command.Output()
	if err != nil || !bytes.Equal(bytes.TrimSpace(again), bytes.TrimSpace(got)) {
		t.Errorf("%v, sed made of it:\n%s", err, again)
	}
}

func TestLeaksAreNoticed(t *testing.T) {
	r := redactor()
	for _, leak := range []string{token, "AAExampleTokenThatNobodyHas-1234_5", "to 4711", "telegram:5", text} {
		if !r.Leaks([]byte(`{"errors":["` + leak + `"]}`)) {
			t.Errorf("%q is not noticed", leak)
		}
	}
	for _, fine := range []string{`{"status":"ok","counters":{"fetch":4711}}`, `{"errors":["telegram:<REDACTED_CHAT_ID>"]}`} {
		if r.Leaks([]byte(fine)) {
			t.Errorf("%s is taken for a leak", fine)
		}
	}
	if !r.Leaks([]byte(`{`)) {
		t.Error("what is no JSON is taken for redacted")
	}
}

// Whatever a report holds, nothing that is known to be secret is left of it.
func FuzzReport(f *testing.F) {
	f.Add(leaky)
	f.Add(`{"chat_id":"<REDACTED_CHAT_ID>","errors":["<REDACTED_CHAT_ID>"]}`)
	f.Add(`{"errors":[[["4711"]]],"message":{"chat_id":[4711]},"status":"telegram:4711"}`)
	f.Fuzz(func(t *testing.T, report string) {
		decoder := json.NewDecoder(strings.NewReader(report))
		decoder.UseNumber()
		var decoded map[string]any
		if decoder.Decode(&decoded) != nil {
			return
		}
		r := &Redactor{}
		r.Know(Secrets{Tokens: []string{token}, Chats: []string{chat}, Users: []string{user}})
		got, err := r.Report(decoded)
		if err != nil || !json.Valid(got) || bytes.Contains(got, []byte(token)) {
			t.Fatalf("%q became %s, %v", report, got, err)
		}
	})
}
