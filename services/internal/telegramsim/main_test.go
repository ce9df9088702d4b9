package telegramsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bot calls a simulator over HTTP.
type bot struct {
	*Server
	t      *testing.T
	client *http.Client
}

func start(t *testing.T, o Options) *bot {
	t.Helper()
	server, err := Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bot{server, t, client}
}

// answer is what the Bot API answers.
type answer struct {
	Status      int
	OK          bool            `json:"ok"`
	Result      json.RawMessage `json:"result"`
	Code        int             `json:"error_code"`
	Description string          `json:"description"`
	Parameters  struct {
		RetryAfter int   `json:"retry_after"`
		MigrateTo  int64 `json:"migrate_to_chat_id"`
	} `json:"parameters"`
}

// updates are the ids of a getUpdates result, and the texts where they are
// messages.
func (a answer) updates(t *testing.T) (ids []int64, texts []string) {
	t.Helper()
	var list []struct {
		ID      int64 `json:"update_id"`
		Message struct {
			Text string `json:"text"`
		} `json:"message"`
	}
	if err := json.Unmarshal(a.Result, &list); err != nil {
		t.Errorf("result %s: %v", a.Result, err)
	}
	for _, u := range list {
		ids, texts = append(ids, u.ID), append(texts, u.Message.Text)
	}
	return ids, texts
}

func (b *bot) try(ctx context.Context, method, params string) (answer, error) {
	return b.post(ctx, "/bot"+DefaultToken+"/"+method, "application/json", strings.NewReader(params))
}

func (b *bot) post(ctx context.Context, path, contentType string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: resp.StatusCode}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%q: %w", data, err)
	}
	return a, nil
}

func (b *bot) call(method, params string) answer {
	b.t.Helper()
	a, err := b.try(b.t.Context(), method, params)
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	return a
}

// refused calls and expects a 400 that says something.
func (b *bot) refused(method, params, description string) {
	b.t.Helper()
	if a := b.call(method, params); a.OK || a.Code != 400 || a.Status != 400 || !strings.Contains(a.Description, description) {
		b.t.Errorf("%s %.200s: %+v", method, params, a)
	}
}

// parked starts a long poll and returns once it waits.
func (b *bot) parked(params string) <-chan answer {
	b.t.Helper()
	before := b.State().Polls
	result := make(chan answer, 1)
	ctx := b.t.Context()
	go func() {
		a, err := b.try(ctx, "getUpdates", params)
		if err != nil && ctx.Err() == nil {
			a.Description = err.Error()
		}
		result <- a
	}()
	b.waitFor(func(s State) bool { return s.Polls > before && s.Parked })
	return result
}

func (b *bot) waitFor(wanted func(State) bool) State {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	state, err := b.WaitForState(ctx, wanted)
	if err != nil {
		b.t.Fatalf("state %+v: %v", state, err)
	}
	return state
}

// control calls the control API and decodes the answer.
func (b *bot) control(method, path, body string, into any) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+"/control/"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		b.t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode
}
