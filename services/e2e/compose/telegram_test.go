//go:build compose

package compose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// simulator is the control API of the simulated Telegram.
type simulator struct {
	t   *testing.T
	url string
}

// call sends and decodes JSON; in nil: a GET.
func (s simulator) call(path string, in, out any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	method, body := http.MethodGet, io.Reader(nil)
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			s.t.Fatal(err)
		}
		method, body = http.MethodPost, bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+"/control/"+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		s.t.Fatal(err)
	}
}

// write lets a person write to the bot, and returns the update's id.
func (s simulator) write(chat int64, text string) int64 {
	s.t.Helper()
	var injected struct {
		UpdateID int64 `json:"update_id"`
	}
	s.call("inject", telegramsim.Incoming{ChatID: chat, Text: text}, &injected)
	return injected.UpdateID
}

// messages are what the bot has sent to a chat.
func (s simulator) messages(chat int64) []telegramsim.Message {
	s.t.Helper()
	var sent struct {
		Messages []telegramsim.Message `json:"messages"`
	}
	s.call(fmt.Sprintf("messages?chat_id=%d", chat), nil, &sent)
	return sent.Messages
}

// pending is how many updates the bot has not confirmed yet.
func (s simulator) pending() int {
	s.t.Helper()
	var state telegramsim.State
	s.call("state", nil, &state)
	return state.Pending
}
