package observe

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"telecodex.dev/services/internal/telegramsim"
)

// collector is an OpenTelemetry collector, as far as the services can see.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	endpoint string

	mu    sync.Mutex
	spans []received
}

// received is a span and the service it came from.
type received struct {
	*tracev1.Span
	service string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{endpoint: "http://" + listener.Addr().String()}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// Export takes spans in.
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, received{span, service})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// trace is the spans of an update so far, by service and name.
func (c *collector) trace(update string) map[string][]received {
	id := sha256.Sum256([]byte(update)) // as docs/OBSERVABILITY.md has it
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := map[string][]received{}
	for _, s := range c.spans {
		if string(s.GetTraceId()) == string(id[:16]) {
			name := strings.TrimPrefix(s.service, "telecodex-") + " " + s.GetName()
			spans[name] = append(spans[name], s)
		}
	}
	return spans
}

// traced are both services with a collector. Spans leave at once, so that few are
// lost with a process that is killed.
func traced(t *testing.T) (*system, *collector) {
	c := newCollector(t)
	s := newSystem(t, "CHANNEL_OTLP_ENDPOINT="+c.endpoint, "ORCHESTRATOR_OTLP_ENDPOINT="+c.endpoint, "OTEL_BSP_SCHEDULE_DELAY=20")
	return s, c
}

// nameOf is an update's name, of a bot that has one generation.
func nameOf(i telegramsim.Injected) string {
	return fmt.Sprintf("%s-1-%d", strings.SplitN(telegramsim.DefaultToken, ":", 2)[0], i.UpdateID)
}

// connected checks that spans are one tree, and within their root's time.
func connected(t *testing.T, spans map[string][]received) {
	t.Helper()
	roots, known := 0, map[string]bool{}
	for _, all := range spans {
		for _, s := range all {
			known[string(s.GetSpanId())] = true
		}
	}
	for name, all := range spans {
		for _, s := range all {
			if len(s.GetParentSpanId()) == 0 {
				roots++
			} else if !known[string(s.GetParentSpanId())] {
				t.Errorf("%s: the span it belongs to is missing", name)
			}
			if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
				t.Errorf("%s ends before it begins", name)
			}
		}
	}
	if roots != 1 {
		t.Errorf("the trace has %d roots", roots)
	}
}

func TestAnUpdateIsOneTraceThroughBothServices(t *testing.T) {
	t.Parallel()
	s, c := traced(t)
	s.run(s.worker, s.gateway)
	const secret = "a-word-of-the-person"
	said := s.say("!scenario all_items\n" + secret)
	s.heard(1)
	want := []string{"gateway queue", "gateway receive", "gateway send", "gateway turn", "gateway update", "orchestrator codex", "orchestrator relay"}
	var spans map[string][]received
	s.eventually("every step is told", func() bool {
		spans = c.trace(nameOf(said))
		return len(spans) == len(want)
	})
	if got := slices.Sorted(maps.Keys(spans)); !slices.Equal(got, want) {
		t.Errorf("spans: %v", got)
	}
	connected(t, spans)
	root := spans["gateway update"][0]
	for name, all := range spans {
		// The relay may notice only after the answer that nobody reads any more.
		if s := all[0]; name != "orchestrator relay" && s.GetEndTimeUnixNano() > root.GetEndTimeUnixNano() {
			t.Errorf("%s ends after the update", name)
		}
		for _, a := range all[0].GetAttributes() {
			text := a.GetValue().String()
			for _, word := range []string{secret, "77001234", "telegram:", "TEST-TOKEN"} {
				if strings.Contains(text, word) {
					t.Errorf("%s: %s contains %q", name, a.GetKey(), word)
				}
			}
		}
	}
}

func TestATraceOutlivesItsGateway(t *testing.T) {
	t.Parallel()
	s, c := traced(t)
	s.run(s.worker, s.gateway)
	said := s.say("!scenario slow FAKE_CODEX_DELAY=700\nx")
	s.eventually("Codex runs, and it is told that it was waited for", func() bool {
		families, ok := s.worker.scrape()
		return ok && value(families, "telecodex_orchestrator_streams") == 1 && len(c.trace(nameOf(said))["gateway queue"]) == 1
	})
	s.again(s.gateway)
	s.heard(1)
	var spans map[string][]received
	s.eventually("the end is told", func() bool {
		spans = c.trace(nameOf(said))
		return len(spans["gateway update"]) == 1 && len(spans["orchestrator relay"]) == 2 && len(spans["orchestrator codex"]) == 1
	})
	connected(t, spans)
	if n := len(spans["gateway turn"]); n != 1 {
		t.Errorf("%d spans of the turn", n)
	}
}

func TestATakeoverLosesNeitherTheCountNorTheTrace(t *testing.T) {
	t.Parallel()
	s, c := traced(t)
	s.run(s.worker, s.gateway)
	s.second.Process = s.second.start()
	s.eventually("the second gateway stands by", func() bool {
		families, ok := s.second.scrape()
		return ok && value(families, "telecodex_gateway_lease_held") == 0
	})
	said := s.say("!scenario slow FAKE_CODEX_DELAY=700\nx")
	s.eventually("Codex runs, and it is told that it was waited for", func() bool {
		families, ok := s.worker.scrape()
		return ok && value(families, "telecodex_orchestrator_streams") == 1 && len(c.trace(nameOf(said))["gateway queue"]) == 1
	})
	if err := s.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	s.heard(1)
	var spans map[string][]received
	s.eventually("the end is told", func() bool {
		spans = c.trace(nameOf(said))
		return len(spans["gateway update"]) == 1 && len(spans["orchestrator relay"]) == 2 && len(spans["orchestrator codex"]) == 1
	})
	connected(t, spans)
	families, _ := s.second.scrape()
	if held, took := value(families, "telecodex_gateway_lease_held"), value(families, "telecodex_gateway_lease_takeovers_total"); held != 1 || took != 1 {
		t.Errorf("held %v, taken over %v", held, took)
	}
	if lost, accepted, ok := lawful(families); !ok || lost != 0 || accepted != 1 {
		t.Errorf("%v lost of %v", lost, accepted)
	}
}

func TestACommandAndAStrangerAreTracesToo(t *testing.T) {
	t.Parallel()
	s, c := traced(t)
	s.run(s.gateway)
	command := s.say("/help")
	stranger := s.sim.Inject(telegramsim.Incoming{ChatID: chat + 5000, Text: "x"})
	s.eventually("both are told", func() bool {
		return len(c.trace(nameOf(command))) == 3 && len(c.trace(nameOf(stranger))) == 2
	})
	connected(t, c.trace(nameOf(command)))
	connected(t, c.trace(nameOf(stranger)))
}

// What configures the worker's traces is not Codex's business.
func TestCodexLearnsNothingOfTraces(t *testing.T) {
	t.Parallel()
	s, c := traced(t)
	dump := filepath.Join(s.dir, "env")
	s.env = append(s.env, "ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_SCENARIO=dump_env_then_exit,CODEX_WRAPPER_TEST_DUMP_ENV="+dump)
	s.run(s.worker, s.gateway)
	said := s.say("x")
	s.eventually("the turn is over", func() bool { return len(c.trace(nameOf(said))["orchestrator codex"]) == 1 })
	env, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"OTEL", "OTLP", "traceparent", "TRACEPARENT", c.endpoint} {
		if strings.Contains(string(env), word) {
			t.Errorf("the environment of Codex contains %q", word)
		}
	}
}
