package heartbeat_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/heartbeat"
	"telecodex.dev/services/internal/freeport"
)

// hookWithSecrets is a path in which a part of everything is secret.
const hookWithSecrets = "/PATH-SECRET?key=QUERY-SECRET"

func TestAFailureIsOneEvent(t *testing.T) {
	const digest = `"telemetry_digest":{"cycle_total_ms":%[1]d,"drop_total":`
	for name, tt := range map[string]struct {
		play func(*cycle.Tracker, *cycle.Cycle)
		want []string // %d is cycle_total_ms
	}{
		"a cycle that failed": {fetchFails, []string{
			`{"context":{"category":"error","code":"adapter-fetch-exception",` +
				`"context":{"chat_id":"","layer":"service","operation":"fetch_updates","session_id":"","update_id":""},` +
				`"diagnostic_id":"185735fa44bbb511","error_count":1,"heartbeat":{"emit_state":"emitted"},` +
				`"message":"fetch_updates failed: telegram getUpdates: network-error: the proxy cannot be reached",` +
				`"reason":"adapter-fetch-exception","retryable":true,"source":"process_once","status":"failed",` +
				digest + `0,"fetch_total":0,"send_total":0}},` +
				`"session_key":"telegram:runtime","source":"channel-runtime",` +
				`"text":"cycle failed: adapter-fetch-exception: fetch_updates failed: telegram getUpdates: network-error: the proxy cannot be reached"}`}},
		"a diagnostic": {turnFails, []string{
			`{"context":{"category":"error","code":"codex-timeout",` +
				`"context":{"chat_id":"","layer":"orchestrator","operation":"handle_message","session_id":"telegram:1000","update_id":"100000002"},` +
				`"diagnostic_id":"d3d094da4cba6308","error_count":1,"heartbeat":{"emit_state":"emitted"},` +
				`"message":"TimeoutError: codex invocation timed out",` +
				`"reason":"completed-with-errors","retryable":true,"source":"orchestrator.diagnostics","status":"ok",` +
				digest + `1,"fetch_total":3,"send_total":1}},` +
				`"session_key":"telegram:runtime","source":"channel-runtime",` +
				`"text":"codex-timeout: TimeoutError: codex invocation timed out"}`}},
		"nothing went wrong": {func(_ *cycle.Tracker, c *cycle.Cycle) { c.Fetched(cycle.Batch{}) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := receive(t, accept)
			report := posted(t, heartbeat.Options{URL: r.URL, Timeout: time.Minute}, tt.play)
			var want []string
			for _, w := range tt.want {
				want = append(want, fmt.Sprintf(w, report.GetTelemetry().GetTimersMs().GetCycleTotal()))
			}
			if diff := gocmp.Diff(want, r.bodies()); diff != "" {
				t.Error(diff)
			}
			state := cycle.Emitted
			if want == nil {
				state = cycle.Disabled
			}
			if got := report.GetTelemetry().GetHeartbeat().GetEmitState(); got != state || report.GetHeartbeatEmitFailures() != 0 {
				t.Errorf("emit_state %s, %d failures", got, report.GetHeartbeatEmitFailures())
			}
			for _, p := range r.posts {
				if p.header.Get("Content-Type") != "application/json" {
					t.Errorf("header %v", p.header)
				}
			}
		})
	}
}

func TestEveryErrorOfACycleIsAnEventOfItsOwn(t *testing.T) {
	r := receive(t, accept)
	ids := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	posted(t, heartbeat.Options{URL: r.URL, Timeout: time.Minute}, func(tracker *cycle.Tracker, c *cycle.Cycle) {
		c.Add(cycle.Detail{Code: cycle.CursorSaveError, Message: "a"})
		c.Add(cycle.Detail{Code: cycle.CursorSaveError, Message: "a"})
		c.Fetched(cycle.Batch{Handed: handed(ids...)})
		for _, id := range ids {
			tracker.Settled(key(id), "telegram:1000", cycle.Result{Code: cycle.CodexExecFailed, Message: "b"})
		}
	})
	var got []string
	for _, body := range r.bodies() {
		var e struct {
			Context struct {
				Code    string
				Context struct {
					UpdateID string `json:"update_id"`
				}
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Context.Code+" "+e.Context.Context.UpdateID)
	}
	want := []string{"cursor-state-save-error "}
	for _, id := range ids {
		want = append(want, fmt.Sprint("codex-exec-failed ", id))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTheReportTellsTheTruth about receivers that do not accept, and the log
// tells nothing of where they are.
func TestTheReportTellsTheTruth(t *testing.T) {
	elsewhere := receive(t, accept)
	dead, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	answer := func(f http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string { return receive(t, f).URL }
	}
	status := func(code int) func(*testing.T) string {
		return answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	at := func(url string) func(*testing.T) string { return func(*testing.T) string { return url } }
	for name, tt := range map[string]struct {
		url      func(*testing.T) string
		failures int32
		log      string
		timeout  time.Duration // 0: more than is needed
	}{
		"200": {status(200), 0, "", 0},
		"204": {status(204), 0, "", 0},
		"an answer without end": {answer(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}), 0, "", 0},
		"an answer that breaks off": {answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
		}), 0, "", 0},
		"404": {status(404), 1, "the receiver answered with status 404", 0},
		"500": {status(500), 1, "the receiver answered with status 500", 0},
		"a redirect, which is not followed": {answer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}), 1, "the receiver answered with status 307", 0},
		"nobody there": {at("http://" + dead), 1, "refused", 0},
		"hangs":        {answer(hang), 1, "no answer in time", 50 * time.Millisecond},
		"not HTTP": {answer(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(conn, "%s\r\n\r\n", r.URL)
			conn.Close()
		}), 1, "the request failed", 0},
		"no URL": {at("http://[::1"), 1, "the URL cannot be used", 0},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			url := strings.Replace(tt.url(t), "http://", "http://user:PASSWORD-SECRET@", 1) + hookWithSecrets
			report := posted(t, heartbeat.Options{URL: url, Timeout: cmp.Or(tt.timeout, time.Minute), Log: zap.New(core)}, fetchFails)
			state := cycle.Emitted
			if tt.failures > 0 {
				state = cycle.EmitFailed
			}
			if report.GetHeartbeatEmitFailures() != tt.failures || report.GetTelemetry().GetCounters().GetHeartbeatEmitFailures() != tt.failures ||
				report.GetTelemetry().GetHeartbeat().GetEmitState() != state {
				t.Errorf("report = %v", report)
			}
			if report.GetStatus() != "failed" || report.GetErrorCount() != 1 {
				t.Errorf("the heartbeat has changed what the cycle came to: %v", report)
			}
			said := fmt.Sprint(logs.All())
			for _, e := range logs.All() {
				said += fmt.Sprint(e.ContextMap())
			}
			if strings.Contains(said, "SECRET") || !strings.Contains(said, tt.log) || (logs.Len() > 0) != (tt.failures > 0) {
				t.Errorf("log: %s", said)
			}
		})
	}
	if got := elsewhere.bodies(); len(got) != 0 {
		t.Errorf("a redirect was followed: %v", got)
	}
}

func TestCredentialsOfTheURLAreSentToItsReceiver(t *testing.T) {
	r := receive(t, accept)
	posted(t, heartbeat.Options{URL: strings.Replace(r.URL, "http://", "http://user:secret@", 1), Timeout: time.Minute}, fetchFails)
	if got := r.posts[0].header.Get("Authorization"); got != "Basic dXNlcjpzZWNyZXQ=" {
		t.Errorf("Authorization %q", got)
	}
}

// TestProxiesAreNotAsked: the address stands for this host but is, unlike
// 127.0.0.1, one that a proxy would be asked for.
func TestProxiesAreNotAsked(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	r := receive(t, accept)
	report := posted(t, heartbeat.Options{URL: strings.Replace(r.URL, "127.0.0.1", "0.0.0.0", 1), Timeout: time.Minute}, fetchFails)
	if report.GetTelemetry().GetHeartbeat().GetEmitState() != cycle.Emitted || len(r.bodies()) != 1 {
		t.Errorf("report = %v", report)
	}
}

// TestAnEventIsSmall: the longest message there can be, of what takes most room
// in JSON.
func TestAnEventIsSmall(t *testing.T) {
	r := receive(t, accept)
	posted(t, heartbeat.Options{URL: r.URL, Timeout: time.Minute}, func(tracker *cycle.Tracker, c *cycle.Cycle) {
		u := handed(9223372036854775807)
		u[0].ChatID = -9223372036854775808
		c.Fetched(cycle.Batch{Handed: u})
		tracker.Settled(u[0].Key, strings.Repeat("s", 128), cycle.Result{Code: cycle.ProcessingException, Message: strings.Repeat("\x01", 1000)})
	})
	if got := len(r.bodies()[0]); got > 8<<10 || got < 6<<10 {
		t.Errorf("%d bytes", got)
	}
}
