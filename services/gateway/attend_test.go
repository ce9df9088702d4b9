package gateway

import (
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// attended is a gateway whose side door is open.
type attended struct {
	*running
	t *testing.T
}

func startAttended(t *testing.T, c Config, out *lines) attended {
	t.Helper()
	free, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	c.MetricsAddr = free
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	w := attended{start(t, c, out), t}
	eventually(t, "the side door is open", func() bool { code, _ := w.get("/healthz"); return code == http.StatusOK })
	return w
}

// get is 0 while nobody answers.
func (w attended) get(path string) (code int, body string) {
	w.t.Helper()
	answer, err := http.Get("http://" + w.config.MetricsAddr + path)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Error(err)
	}
	return answer.StatusCode, string(text)
}

func (w attended) becomesReady() {
	w.t.Helper()
	eventually(w.t, "ready", func() bool { code, _ := w.get("/readyz"); return code == http.StatusOK })
}

func TestAGatewayThatCannotReachTelegramSaysSo(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	sim.Fail(telegramsim.Fault{Method: "getMe", Count: -1, Status: 502})
	w := startAttended(t, echo(t, sim.URL, out), out)
	eventually(t, "the reason is shown", func() bool {
		code, body := w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "Telegram does not say who the bot is") && strings.Contains(body, "502")
	})
	if code, body := w.get("/metrics"); code != http.StatusOK || !strings.Contains(body, "telecodex_gateway_cycles_total") {
		t.Errorf("metrics: %d", code)
	}
	if err := os.WriteFile(w.config.Store+".damaged-20260301T120000.000Z", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, body := w.get("/metrics"); !strings.Contains(body, "telecodex_gateway_store_damaged_copies 1\n") {
		t.Error("a damaged store that is kept is not counted")
	}
	if s := w.status(t); s.GetBotId() != 0 || s.GetBotUsername() != "" || s.GetOrchestratorMode() != "default" || s.GetLastPollAt() != nil {
		t.Errorf("status = %v", s)
	}
	ctx := t.Context()
	_, list := w.client.ListSessions(ctx, &gatewayv1.ListSessionsRequest{})
	_, trace := w.client.GetUpdateTrace(ctx, &gatewayv1.GetUpdateTraceRequest{UpdateId: 1})
	_, resolve := w.client.ResolveTurn(ctx, &gatewayv1.ResolveTurnRequest{TurnId: "x", Resolution: gatewayv1.Resolution_RESOLUTION_DROP})
	for name, err := range map[string]error{"ListSessions": list, "GetUpdateTrace": trace, "ResolveTurn": resolve} {
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "does not know its bot yet") {
			t.Errorf("%s = %v", name, err)
		}
	}
	watch, err := w.client.WatchCycles(ctx, &gatewayv1.WatchCyclesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	failed, err := watch.Recv()
	if err != nil || failed.GetReport().GetStatus() != "failed" {
		t.Errorf("%v, %v", failed, err)
	}

	sim.ClearFaults()
	w.becomesReady() // nothing arrives that would end a long poll
	if s := w.status(t); s.GetBotId() != 1000000 || s.GetLastPollAt() == nil {
		t.Errorf("status = %v", s)
	}
}

func TestAnAddressInUseNamesBothCauses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: Windows lets two programs listen on one address")
	}
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for setting, occupy := range map[string]func(*Config){
		"CHANNEL_LISTEN_ADDR":  func(c *Config) { c.Listener, c.ListenAddr = nil, used.Addr().String() },
		"CHANNEL_METRICS_ADDR": func(c *Config) { c.MetricsAddr = used.Addr().String() },
	} {
		t.Run(setting, func(t *testing.T) {
			c := echo(t, simulate(t).URL, &lines{})
			occupy(&c)
			err := Run(t.Context(), c)
			for _, part := range []string{"another gateway may run here", "another program has the address", "choose another " + setting} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%q is missing: %v", part, err)
				}
			}
		})
	}
}

func TestReadinessWaitsForAPollThatSucceeds(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, Status: 502})
	w := startAttended(t, echo(t, sim.URL, out), out)
	eventually(t, "a poll has failed", func() bool { return len(out.reports(t)) > 0 })
	if code, body := w.get("/readyz"); code != http.StatusServiceUnavailable || body != "no poll has succeeded yet\n" {
		t.Errorf("it is %d: %s", code, body)
	}
	sim.ClearFaults()
	w.becomesReady()
}

func TestACycleThatIsAskedForEarlyIsRunOnceTheBotIsKnown(t *testing.T) {
	t.Parallel()
	sim, out := simulate(t), &lines{}
	sim.Fail(telegramsim.Fault{Method: "getMe", Count: 3, Status: 502}) // one cycle with its repetitions
	w := startAttended(t, echo(t, sim.URL, out), out)
	eventually(t, "the first cycle has failed", func() bool { return len(out.reports(t)) == 1 })
	cycle, err := w.client.RunCycle(t.Context(), &gatewayv1.RunCycleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var report *telemetryv1.CycleReport
	for report == nil {
		step, err := cycle.Recv()
		if err != nil {
			t.Fatal(err)
		}
		report = step.GetReport()
	}
	if report.GetReason() != "no-updates" {
		t.Errorf("report = %v", report)
	}
}

func TestAGatewayIsDeafOncePollsHaveFailedForLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		config Config
		age    time.Duration
		deaf   bool
	}{
		"within a long poll":              {Config{LongPoll: 25 * time.Second}, 40 * time.Second, false},
		"two long polls and more ago":     {Config{LongPoll: 25 * time.Second}, 81 * time.Second, true},
		"short polls":                     {Config{PollInterval: time.Second}, 31 * time.Second, false},
		"short polls that fail":           {Config{PollInterval: time.Second}, 33 * time.Second, true},
		"polls that are rare on purpose":  {Config{PollInterval: 5 * time.Minute}, 9 * time.Minute, false},
		"rare polls that are overdue too": {Config{PollInterval: 5 * time.Minute}, 11 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.config.deaf(now.Add(-tt.age), now); (err != nil) != tt.deaf {
				t.Errorf("%v", err)
			}
		})
	}
	if (Config{}).deaf(time.Time{}, now) == nil {
		t.Error("without any poll it is said to hear")
	}
}
