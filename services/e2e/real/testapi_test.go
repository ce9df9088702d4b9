//go:build real

package real_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/responses"
)

// testAPI is npm's telegram-test-api: a Bot API server, and the side on which the person is.
type testAPI struct{ url string }

func startTestAPI(t *testing.T) *testAPI {
	t.Helper()
	dir := installed(t, telegramInstall)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(node, filepath.Join("npm", "serve-telegram-test-api.js"))
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE_PATH=" + filepath.Join(dir, "node_modules")}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("telegram-test-api: %v\n%s", err, stderr.Bytes())
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &testAPI{url: "http://127.0.0.1:" + strings.TrimSpace(port)}
}

// post makes a call of the server's client side and returns what it answers.
func (a *testAPI) post(t *testing.T, path string, body object) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // the server waits for idle connections when it ends
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var envelope struct {
		OK     bool            `json:"ok"`
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil || !envelope.OK {
		t.Fatalf("%s: %v %s", path, err, answer)
	}
	return envelope.Result
}

// say lets the person of a private chat write.
func (a *testAPI) say(t *testing.T, chat int64, text string) {
	t.Helper()
	a.post(t, "/sendMessage", object{
		"botToken": botToken, "date": time.Now().Unix(), "text": text,
		"from": object{"id": chat, "first_name": "Person", "is_bot": false},
		"chat": object{"id": chat, "first_name": "Person", "type": "private"},
	})
}

// heard are the texts that the bot has sent to a chat since the last call.
func (a *testAPI) heard(t *testing.T, chat int64) []string {
	t.Helper()
	var updates []struct {
		Message struct {
			Text string `json:"text"`
		} `json:"message"`
	}
	if err := json.Unmarshal(a.post(t, "/getUpdates", object{"token": botToken, "chatId": chat}), &updates); err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(updates))
	for i, update := range updates {
		texts[i] = update.Message.Text
	}
	return texts
}

func TestGatewayAgainstTelegramTestAPI(t *testing.T) {
	api := startTestAPI(t)
	w := startWorker(t, startProvider(t, responses.Book{
		"The word is heron.": {responses.Run("echo noted > word"), responses.Say("Noted.")},
		"Which word?":        {responses.Recall()},
	}), nil)
	startGateway(t, w, api.url, map[string]string{"CHANNEL_POLL_INTERVAL_S": "0.2"})

	// This server marks an update as read when it hands it out and never hands it out again: what the gateway does not keep is
	// lost.
	for _, exchange := range []struct {
		chat           int64
		says, answered string
	}{
		{1001, "The word is heron.", "Noted."},
		{1001, "Which word?", "I remember 1:\nThe word is heron."},
		{1002, "Which word?", "I remember 0:"},
	} {
		api.say(t, exchange.chat, exchange.says)
		var heard []string
		await(t, turnTimeout, "an answer to "+exchange.says, func() bool {
			heard = append(heard, api.heard(t, exchange.chat)...)
			return len(heard) > 0
		})
		if len(heard) != 1 || strings.TrimSpace(heard[0]) != exchange.answered {
			t.Errorf("chat %d said %q and heard %q", exchange.chat, exchange.says, heard)
		}
	}
	if again := append(api.heard(t, 1001), api.heard(t, 1002)...); len(again) > 0 {
		t.Errorf("more than one answer a message: %q", again)
	}
}
