//go:build real

package real_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/responses"
)

// telegram is a running Bot API simulator and the people in its chats.
type telegram struct {
	url string
}

// sentMessage is a message that the bot has sent.
type sentMessage struct {
	Text     string `json:"text"`
	ReplyTo  int64  `json:"reply_to"`
	Document *struct {
		Name    string `json:"name"`
		Content []byte `json:"content"`
	} `json:"document"`
}

func startTelegram(t *testing.T) *telegram {
	t.Helper()
	dir := scratch(t)
	file := filepath.Join(dir, "address")
	launch(t, dir, environment(map[string]string{"PATH": os.Getenv("PATH")}), binary(t, "faketelegram"),
		"-addr", "127.0.0.1:0", "-addr-file", file, "-token", botToken)
	var address []byte
	await(t, 30*time.Second, "the simulator says where it listens", func() bool {
		address, _ = os.ReadFile(file) // it appears with its whole content
		return len(address) > 0
	})
	return &telegram{url: "http://" + strings.TrimSpace(string(address))}
}

// control makes a call of the simulator's control API.
func (s *telegram) control(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+"/control/"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v, %s", path, response.StatusCode, err, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// say lets the person of a private chat write, and returns the message's id.
func (s *telegram) say(t *testing.T, chat int64, text string) (messageID int64) {
	t.Helper()
	var injected struct {
		MessageID int64 `json:"message_id"`
	}
	s.control(t, http.MethodPost, "inject", object{"chat_id": chat, "text": text}, &injected)
	return injected.MessageID
}

// heardSoFar are the messages that the bot has sent to a chat.
func (s *telegram) heardSoFar(t *testing.T, chat int64) []sentMessage {
	t.Helper()
	var answer struct {
		Messages []sentMessage `json:"messages"`
	}
	s.control(t, http.MethodGet, fmt.Sprintf("messages?chat_id=%d", chat), nil, &answer)
	return answer.Messages
}

// heard waits until the bot has sent count messages to a chat, and returns all of them.
func (s *telegram) heard(t *testing.T, chat int64, count int) []sentMessage {
	t.Helper()
	var answer struct {
		Messages []sentMessage `json:"messages"`
		Met      bool          `json:"met"`
	}
	path := fmt.Sprintf("messages/wait?chat_id=%d&count=%d&timeout_ms=%d", chat, count, turnTimeout.Milliseconds())
	s.control(t, http.MethodGet, path, nil, &answer)
	if !answer.Met || len(answer.Messages) != count {
		t.Fatalf("chat %d heard %d messages, not %d", chat, len(answer.Messages), count)
	}
	return answer.Messages
}

// askIn lets a person write and returns the one message that answers; before is how many the chat has heard.
func (s *telegram) askIn(t *testing.T, chat int64, before int, text string) sentMessage {
	t.Helper()
	id := s.say(t, chat, text)
	answer := s.heard(t, chat, before+1)[before]
	if answer.ReplyTo != id {
		t.Errorf("the answer to %q replies to message %d, not %d", text, answer.ReplyTo, id)
	}
	return answer
}

func TestFromTelegramToCodexAndBack(t *testing.T) {
	provider := startProvider(t, responses.Book{
		"Hello?":             {responses.Say("Hello.")},
		"Run it":             {responses.Run("echo forty-two > result; cat result"), responses.Say("It ran.")},
		"Patch it":           {responses.Patch("*** Add File: made.txt\n+made by a patch"), responses.Say("Patched.")},
		"The word is heron.": {responses.Say("Noted.")},
		"Which word?":        {responses.Recall()},
		"Big":                {responses.Say(bigAnswer())},
		"Too long":           {responses.Fail("context_length_exceeded", "Your input exceeds the context window of this model.")},
	})
	w := startWorker(t, provider, nil)
	api := startTelegram(t)
	startGateway(t, w, api.url, map[string]string{"CHANNEL_ALLOWED_CHAT_IDS": "1,2,3,4,5,6,7,8"})

	// Each in a chat of its own and several at a time: the sessions share the worker, never a thread or a directory.
	for chat, c := range map[int64]struct {
		name string
		run  func(t *testing.T, chat int64)
	}{
		1: {"a plain answer", func(t *testing.T, chat int64) {
			if got := api.askIn(t, chat, 0, "Hello?"); got.Text != "Hello." {
				t.Errorf("answer: %.200q", got.Text)
			}
		}},
		2: {"a shell command", func(t *testing.T, chat int64) {
			if got := api.askIn(t, chat, 0, "Run it"); got.Text != "It ran." {
				t.Errorf("answer: %.200q", got.Text)
			}
			w.mustHold(t, "result", "forty-two\n")
		}},
		3: {"a patch", func(t *testing.T, chat int64) {
			if got := api.askIn(t, chat, 0, "Patch it"); got.Text != "Patched." {
				t.Errorf("answer: %.200q", got.Text)
			}
			w.mustHold(t, "made.txt", "made by a patch\n")
		}},
		4: {"the second message knows the first", func(t *testing.T, chat int64) {
			api.askIn(t, chat, 0, "The word is heron.")
			if got := api.askIn(t, chat, 1, "Which word?"); got.Text != "I remember 1:\nThe word is heron." {
				t.Errorf("answer: %.200q", got.Text)
			}
		}},
		5: {"another chat does not know it", func(t *testing.T, chat int64) {
			if got := api.askIn(t, chat, 0, "Which word?"); strings.TrimSpace(got.Text) != "I remember 0:" {
				t.Errorf("answer: %.200q", got.Text)
			}
		}},
		6: {"an answer of 5 MB", func(t *testing.T, chat int64) {
			api.askIn(t, chat, 0, "Big") // the beginning, and where the rest is
			got := api.heard(t, chat, 2)[1]
			if got.Document == nil || !strings.HasSuffix(got.Document.Name, ".md") {
				t.Fatalf("no .md document: %.200q", got.Text)
			}
			if want := bigAnswer(); string(got.Document.Content) != want {
				t.Errorf("the document's %d bytes differ from the %d of the answer", len(got.Document.Content), len(want))
			}
		}},
		7: {"a conversation that is too long", func(t *testing.T, chat int64) {
			if got := api.askIn(t, chat, 0, "Too long"); !strings.Contains(got.Text, "/new") {
				t.Errorf("the person is not told what to do: %.500q", got.Text)
			}
		}},
		8: {"/new forgets", func(t *testing.T, chat int64) {
			api.askIn(t, chat, 0, "The word is heron.")
			api.say(t, chat, "/new")
			api.heard(t, chat, 2)
			if got := api.askIn(t, chat, 2, "Which word?"); strings.TrimSpace(got.Text) != "I remember 0:" {
				t.Errorf("answer: %.200q", got.Text)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, chat)
		})
	}
}

func TestSilentProviderIsToldInTheChat(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{"Anyone?": {responses.Silence()}, "Hello?": {responses.Say("Hello.")}}),
		map[string]string{"ORCHESTRATOR_IDLE_TIMEOUT_S": "10"})
	api := startTelegram(t)
	startGateway(t, w, api.url, nil)
	if got := api.askIn(t, 1001, 0, "Anyone?"); !strings.Contains(got.Text, "timed out") {
		t.Errorf("the person is told %q", got.Text)
	}
	if got := api.askIn(t, 1001, 1, "Hello?"); got.Text != "Hello." {
		t.Errorf("the next message is answered with %q", got.Text)
	}
}

// mustHold fails the test unless exactly one session's directory holds the file, with that content.
func (w *worker) mustHold(t *testing.T, name, content string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.workspaces, "*", name))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s is in %d sessions' directories", name, len(found))
	}
	if text, err := os.ReadFile(found[0]); err != nil || string(text) != content {
		t.Errorf("%s holds %q, %v", name, text, err)
	}
}
