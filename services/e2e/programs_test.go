package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// TestThreeProgramsAnswerAMessage has what stands in README's "Look inside": the
// simulator, the worker and the gateway are programs of their own, and a person
// writes and reads through the simulator's control API.
func TestThreeProgramsAnswerAMessage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	api := startFakeTelegram(t, dir)
	worker, err := harness.StartWorker(t.Context(), harness.WorkerConfig{Programs: built, Dir: filepath.Join(dir, "worker")})
	if err != nil {
		t.Fatal(err)
	}
	stopAtTheEnd(t, worker.Process)

	var in telegramsim.Injected
	control(t, http.MethodPost, api+"/control/inject", fmt.Sprintf(`{"chat_id": %d, "text": "hello"}`, chat), &in)
	gateway, err := harness.Start(harness.Command{Path: built.Path("gateway"), Dir: dir, Args: []string{
		"--once", "--token", telegramsim.DefaultToken, "--telegram-api-url", api, "--allowed-chat-ids", fmt.Sprint(chat),
		"--orchestrator-addr", worker.Addr, "--store", "gateway.db", "--cursor-state-path=", "--listen-addr=", "--metrics-addr=",
	}})
	if err != nil {
		t.Fatal(err)
	}
	stopAtTheEnd(t, gateway)
	select {
	case <-gateway.Done():
	case <-time.After(patience):
		t.Fatalf("the cycle never ends: %s", gateway.Stderr())
	}
	if report := gateway.Stdout(); gateway.Status() != 0 || !strings.Contains(report, `"sent_count":1,"status":"ok"`) || strings.Count(report, "\n") != 1 {
		t.Errorf("status %d, printed %q", gateway.Status(), report)
	}

	var seen struct{ Messages []telegramsim.Message }
	control(t, http.MethodGet, fmt.Sprintf("%s/control/messages?chat_id=%d", api, chat), "", &seen)
	if len(seen.Messages) != 1 || seen.Messages[0].Text != "You said: hello" || seen.Messages[0].ReplyTo != in.MessageID {
		t.Errorf("the simulator has seen %+v", seen.Messages)
	}
	var state telegramsim.State
	control(t, http.MethodGet, api+"/control/state", "", &state)
	if state.Polls == 0 || state.Messages != 1 || state.NextUpdateID != in.UpdateID+1 {
		t.Errorf("update %d was injected, now the simulator is %+v", in.UpdateID, state)
	}
}

// startFakeTelegram starts the simulator's program and returns its URL.
func startFakeTelegram(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "telegram.addr")
	p, err := harness.Start(harness.Command{Path: built.Path("faketelegram"), Args: []string{"--addr", "127.0.0.1:0", "--addr-file", file}})
	if err != nil {
		t.Fatal(err)
	}
	stopAtTheEnd(t, p)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if addr, err := os.ReadFile(file); err == nil {
			return (&url.URL{Scheme: "http", Host: string(addr)}).String()
		}
		select {
		case <-tick.C:
		case <-p.Done():
			t.Fatalf("faketelegram left with status %d: %s", p.Status(), p.Stderr())
		case <-deadline:
			t.Fatalf("faketelegram never listens: %s", p.Stderr())
		}
	}
}

// control makes a call of the simulator's control API.
func control(t *testing.T, method, address, body string, answer any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v: %s", method, address, response.StatusCode, err, text)
	}
}

// stopAtTheEnd stops a program at the end of a test, and shows what it wrote where
// the test has failed.
func stopAtTheEnd(t *testing.T, p *harness.Process) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s\n%s", p.Stdout(), p.Stderr())
		}
	})
}
