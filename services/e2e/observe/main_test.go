package observe

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// patience bounds every wait.
const patience = time.Minute

// built are the programs, built once before the first test.
var built harness.Programs

func TestMain(m *testing.M) {
	harness.Main(m, func(dir string) (func() error, error) {
		var err error
		built, err = harness.Build(context.Background(), dir, "gateway", "orchestrator", "fakecodex")
		return nil, err
	})
}

// chat may use the bot; its number is to be seen in no metric and no trace.
const chat = 77001234

// system is a simulated Telegram, and the two services as processes of their own.
type system struct {
	t       *testing.T
	sim     *telegramsim.Server
	dir     string
	env     []string // of both services
	addr    string   // of the worker
	gateway *service
	second  *service // another gateway on the same store
	worker  *service
}

// service is a program that runs, and everything that its predecessors wrote.
type service struct {
	*harness.Process
	metrics string // its address
	before  string // logs of processes that have ended
	start   func() *harness.Process
}

// newSystem starts Telegram alone. env is for both services.
func newSystem(t *testing.T, env ...string) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), env: env}
	var err error
	if s.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		t.Fatal(err)
	}
	s.addr = s.free()
	s.worker = &service{metrics: s.free()}
	s.worker.start = func() *harness.Process {
		return s.program("orchestrator",
			"ORCHESTRATOR_LISTEN_ADDR="+s.addr, "ORCHESTRATOR_METRICS_ADDR="+s.worker.metrics,
			"ORCHESTRATOR_CODEX_BIN="+built.Path("fakecodex"), "ORCHESTRATOR_CODEX_HOME="+filepath.Join(s.dir, "codex"),
			"ORCHESTRATOR_STATE_DIR="+filepath.Join(s.dir, "worker"), "ORCHESTRATOR_DRAIN_S=1",
			"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1")
	}
	s.gateway, s.second = s.newGateway(), s.newGateway()
	t.Cleanup(s.close)
	return s
}

func (s *system) newGateway() *service {
	p := &service{metrics: s.free()}
	p.start = func() *harness.Process {
		return s.program("gateway",
			"CHANNEL_TOKEN="+telegramsim.DefaultToken, "CHANNEL_TELEGRAM_API_URL="+s.sim.URL, "CHANNEL_ORCHESTRATOR_ADDR="+s.addr,
			fmt.Sprintf("CHANNEL_ALLOWED_CHAT_IDS=%d,%d", chat, chat+1), "CHANNEL_LISTEN_ADDR=off", "CHANNEL_METRICS_ADDR="+p.metrics,
			"CHANNEL_SEND_RATE=0")
	}
	return p
}

func (s *system) close() {
	for _, p := range []*service{s.gateway, s.second, s.worker} {
		if p.Process == nil {
			continue
		}
		if err := p.Stop(20 * time.Second); err != nil {
			s.t.Error(err)
		}
		if s.t.Failed() {
			s.t.Log(p.logs())
		}
	}
	if err := s.sim.Close(); err != nil {
		s.t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func (s *system) free() string {
	s.t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		s.t.Fatal(err)
	}
	return addr
}

func (s *system) program(name string, env ...string) *harness.Process {
	s.t.Helper()
	p, err := harness.Start(harness.Command{Path: built.Path(name), Dir: s.dir, Env: append(env, s.env...)})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// run starts services and waits until each does its work.
func (s *system) run(services ...*service) {
	s.t.Helper()
	for _, p := range services {
		p.Process = p.start()
	}
	for _, p := range services {
		s.eventually("it is ready", func() bool { return p.get("/readyz") == http.StatusOK })
	}
}

// again kills services and starts them anew.
func (s *system) again(services ...*service) {
	s.t.Helper()
	for _, p := range services {
		if err := p.Kill(); err != nil {
			s.t.Fatal(err)
		}
		p.before += p.Stderr()
		p.Process = p.start()
	}
}

// logs is everything that a service has logged.
func (p *service) logs() string { return p.before + p.Stderr() }

// get is 0 while nobody answers.
func (p *service) get(path string) int {
	answer, err := http.Get("http://" + p.metrics + path)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// scrape reads the metrics; false while the service does not answer.
func (p *service) scrape() (map[string]*dto.MetricFamily, bool) {
	answer, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return nil, false
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	return families, err == nil && answer.StatusCode == http.StatusOK
}

func (s *system) eventually(what string, cond func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("never: %s", what)
		}
	}
}

func (s *system) say(text string) telegramsim.Injected {
	return s.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: text})
}

// heard waits until a number of messages were sent to the chat.
func (s *system) heard(count int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if messages, err := s.sim.WaitForMessages(ctx, chat, count); err != nil {
		s.t.Fatalf("%d messages, want %d: %v", len(messages), count, err)
	}
}

// value is a family's value with some labels, as name, value, name, value.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	family := families[name]
	for _, m := range family.GetMetric() {
		if matches(m, labels) {
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				return m.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				return float64(m.GetHistogram().GetSampleCount())
			}
			return m.GetGauge().GetValue()
		}
	}
	return -1
}

func matches(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}
