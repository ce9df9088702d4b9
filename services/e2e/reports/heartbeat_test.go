package reports

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/internal/telegramsim"
)

// receive is a heartbeat's receiver: its URL, and what comes in. With hang it
// never answers.
func receive(t *testing.T, hang bool) (url string, events chan string) {
	t.Helper()
	events = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		events <- string(body)
		if hang {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, events
}

// reportOf reads the one line that a cycle has printed.
func reportOf(t *testing.T, stdout string) *telemetryv1.CycleReport {
	t.Helper()
	report := &telemetryv1.CycleReport{}
	if err := protojson.Unmarshal([]byte(stdout), report); err != nil {
		t.Fatalf("%q: %v", stdout, err)
	}
	return report
}

// TestFailuresAreEmitted: each failure is one event, and none holds a secret,
// neither the token nor what people and Codex have written.
func TestFailuresAreEmitted(t *testing.T) {
	t.Parallel()
	dead := scenarios()["dead_proxy"]
	for name, tt := range map[string]struct {
		scenario
		code, reason, update string
	}{
		"dead proxy": {dead, "adapter-fetch-exception", "adapter-fetch-exception", ""},
		"failed turn": {scenario{prompt: "!scenario turn_failed\nPROMPT-DO-NOT-LEAK"},
			"codex-exec-failed", "completed-with-errors", "100000001"},
		"crash": {scenario{prompt: "!scenario crash\nPROMPT-DO-NOT-LEAK"}, "codex-exec-failed", "completed-with-errors", "100000001"},
		"answer that cannot be sent": {scenario{prompt: "ANSWER-DO-NOT-LEAK", prepare: func(g *gateway) {
			g.sim.Fail(telegramsim.Fault{Method: "sendMessage", Status: 403, Description: "Forbidden: bot was blocked by the user"})
		}}, "update-processing-exception", "completed-with-errors", "100000001"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, 0)
			if tt.prompt != "" {
				g.say(tt.prompt)
			}
			if tt.prepare != nil {
				tt.prepare(g)
			}
			url, events := receive(t, false)
			p := g.start([]string{"--once"}, append(tt.env, "CHANNEL_HEARTBEAT_URL="+
				strings.Replace(url, "http://", "http://user:PASSWORD-DO-NOT-LEAK@", 1)+"/DO-NOT-LEAK")...)
			if status := g.ended(p); status != tt.status {
				t.Errorf("exit status %d", status)
			}
			report := reportOf(t, p.Stdout())
			if report.GetTelemetry().GetHeartbeat().GetEmitState() != "emitted" || report.GetHeartbeatEmitFailures() != 0 || len(events) != 1 {
				t.Fatalf("%d events of %v", len(events), report)
			}
			body := <-events
			if leaks(body) {
				t.Errorf("a secret is in %s", body)
			}
			var event struct {
				SessionKey string `json:"session_key"`
				Text       string
				Source     string
				Context    struct {
					Code, Status, Reason string
					ErrorCount           int    `json:"error_count"`
					DiagnosticID         string `json:"diagnostic_id"`
					Context              struct {
						UpdateID string `json:"update_id"`
					}
					Heartbeat struct {
						EmitState string `json:"emit_state"`
					}
					Digest map[string]int `json:"telemetry_digest"`
				}
			}
			if err := json.Unmarshal([]byte(body), &event); err != nil {
				t.Fatal(err)
			}
			c := event.Context
			if event.SessionKey != "telegram:runtime" || event.Source != "channel-runtime" || event.Text == "" || c.Code != tt.code || c.Reason != tt.reason ||
				c.Status != report.GetStatus() || c.ErrorCount != 1 || c.Context.UpdateID != tt.update || c.Heartbeat.EmitState != "emitted" ||
				c.DiagnosticID != report.GetErrorDetails()[0].GetDiagnosticId() || len(c.Digest) != 4 || c.Digest["fetch_total"] != int(report.GetFetchedCount()) {
				t.Errorf("event %s of %v", body, report)
			}
		})
	}
}

func TestNothingIsEmittedWhenNothingFailed(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"answer": "", "drop": "CHANNEL_ALLOWED_CHAT_IDS=7"} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, 0)
			g.say("hello")
			url, events := receive(t, false)
			p := g.start([]string{"--once"}, "CHANNEL_HEARTBEAT_URL="+url, env)
			g.ended(p)
			if r := reportOf(t, p.Stdout()); r.GetFetchedCount() != 1 || r.GetTelemetry().GetHeartbeat().GetEmitState() != "disabled" || len(events) != 0 {
				t.Errorf("%d events of %v", len(events), r)
			}
		})
	}
}

// TestAReceiverThatHangsEndsNoCycle, and does not keep the gateway from ending.
func TestAReceiverThatHangsEndsNoCycle(t *testing.T) {
	t.Parallel()
	url, events := receive(t, true)
	heartbeat := "CHANNEL_HEARTBEAT_URL=" + url
	t.Run("a failed cycle", func(t *testing.T) {
		g := newGateway(t, 0)
		scenarios()["fetch_failure"].prepare(g)
		p := g.start([]string{"--once"}, heartbeat)
		if status := g.ended(p); status != 1 {
			t.Errorf("exit status %d", status)
		}
		<-events
		if r := reportOf(t, p.Stdout()); r.GetStatus() != "failed" || r.GetTelemetry().GetHeartbeat().GetEmitState() != "emit-failed" {
			t.Errorf("report %v", r)
		}
	})
	t.Run("a failed turn", func(t *testing.T) {
		g := newGateway(t, 0)
		g.say("!scenario turn_failed\nhello")
		p := g.start([]string{"--once"}, heartbeat)
		if status := g.ended(p); status != 0 {
			t.Errorf("exit status %d", status)
		}
		<-events
		if r := reportOf(t, p.Stdout()); r.GetTelemetry().GetHeartbeat().GetEmitState() != "emit-failed" || r.GetHeartbeatEmitFailures() != 1 ||
			r.GetTelemetry().GetCounters().GetHeartbeatEmitFailures() != 1 || r.GetSentCount() != 1 {
			t.Errorf("report %v", r)
		}
	})
	t.Run("continuous", func(t *testing.T) {
		g := newGateway(t, 0)
		g.sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, HTML: true})
		p := g.start(nil, heartbeat)
		select {
		case <-events:
		case <-time.After(patience):
			t.Fatal("no event")
		}
		if err := p.Stop(patience); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(p.Stdout(), "\n")
		if r := reportOf(t, first); r.GetReason() != "adapter-fetch-exception" || r.GetTelemetry().GetHeartbeat().GetEmitState() != "emit-failed" {
			t.Errorf("report %v", r)
		}
	})
}
