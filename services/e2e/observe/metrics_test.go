package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"telecodex.dev/services/internal/telegramsim"
)

// documented is a row of the tables of docs/OBSERVABILITY.md.
type documented struct {
	kind   string
	labels map[string][]string // values by name
}

var (
	tableRow   = regexp.MustCompile("(?m)^\\| `(telecodex_[a-z_]+)` \\| (counter|gauge|histogram) \\| (.*?) \\| .+ \\|$")
	tableLabel = regexp.MustCompile("`([a-z_]+)`: ([^;]+)")
)

// table reads the document.
func table(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile("../../../docs/OBSERVABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]documented{}
	for _, row := range tableRow.FindAllStringSubmatch(string(text), -1) {
		d := documented{kind: row[2], labels: map[string][]string{}}
		for _, label := range tableLabel.FindAllStringSubmatch(row[3], -1) {
			d.labels[label[1]] = strings.Split(strings.TrimSpace(label[2]), ", ")
		}
		rows[row[1]] = d
	}
	if len(rows) < 40 {
		t.Fatalf("the tables have %d rows", len(rows))
	}
	return rows
}

// Everything that may happen happens, and nothing is to be seen of who it happened to.
func TestMetricsAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.run(s.worker, s.gateway)
	const secret = "a-word-of-the-person"
	for n, text := range []string{secret, "!scenario all_items\n" + secret, "!scenario turn_failed\n" + secret, "!scenario garbage\n" + secret,
		"!scenario crash\n" + secret, "/status", "/help", "/new"} {
		s.say(text)
		s.heard(n + 1)
	}
	s.sim.Inject(telegramsim.Incoming{ChatID: chat + 5000, Text: secret}) // a stranger
	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", Body: `{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":1}}`, Status: 429})
	s.sim.Fail(telegramsim.Fault{Method: "sendMessage", Reset: true, Execute: true})
	s.say(secret)
	s.heard(10)
	s.say("!scenario hang\n" + secret)
	s.eventually("it runs", func() bool {
		families, ok := s.gateway.scrape()
		return ok && value(families, "telecodex_gateway_turns", "state", "running") == 1
	})
	s.again(s.worker)
	s.heard(11)
	for _, verbatim := range []bool{true, false} { // of no number, which the next one lets pass; of no use
		if _, err := s.sim.InjectRaw(json.RawMessage(`{"poll":{}}`), verbatim); err != nil {
			t.Fatal(err)
		}
	}
	for _, outcome := range []string{"dropped", "skipped", "malformed"} {
		s.eventually("an update was "+outcome, func() bool {
			families, ok := s.gateway.scrape()
			return ok && value(families, "telecodex_gateway_updates_received_total", "outcome", outcome) >= 1
		})
	}

	known := table(t)
	seen := map[string]bool{}
	for _, p := range []*service{s.gateway, s.worker} {
		families, ok := p.scrape()
		if !ok {
			t.Fatal("no metrics")
		}
		for _, name := range slices.Sorted(maps.Keys(families)) {
			if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				seen[name] = true
				compare(t, name, families[name], known)
			}
		}
		for _, word := range []string{secret, fmt.Sprint(chat), fmt.Sprint(chat + 5000), "telegram:", telegramsim.DefaultToken} {
			if strings.Contains(body(t, p), word) {
				t.Errorf("the metrics contain %q", word)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !seen[name] {
			t.Errorf("%s is documented, and not there", name)
		}
	}
	s.counted()
}

// compare holds a family against its row.
func compare(t *testing.T, name string, family *dto.MetricFamily, known map[string]documented) {
	t.Helper()
	row, ok := known[name]
	if kind := strings.ToLower(family.GetType().String()); !ok || kind != row.kind {
		t.Errorf("%s is a %s, documented as %q", name, kind, row.kind)
		return
	}
	for _, m := range family.GetMetric() {
		if len(m.GetLabel()) != len(row.labels) {
			t.Errorf("%s has labels %v", name, m.GetLabel())
		}
		for _, l := range m.GetLabel() {
			if !slices.Contains(row.labels[l.GetName()], l.GetValue()) {
				t.Errorf("%s: %s=%q is not in the list", name, l.GetName(), l.GetValue())
			}
		}
	}
}

func body(t *testing.T, p *service) string {
	t.Helper()
	answer, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// counted waits until the run has come to what it must.
func (s *system) counted() {
	s.t.Helper()
	s.eventually("the last message is known to be sent", func() bool {
		families, ok := s.gateway.scrape()
		return ok && value(families, "telecodex_gateway_outbox_messages") == 0
	})
	gateway, ok := s.gateway.scrape()
	worker, also := s.worker.scrape()
	if !ok || !also {
		s.t.Fatal("no metrics")
	}
	for _, want := range []struct {
		families map[string]*dto.MetricFamily
		value    float64
		name     string
		labels   []string
	}{
		{gateway, 4, "telecodex_gateway_turn_duration_seconds", []string{"outcome", "succeeded"}},
		{gateway, 2, "telecodex_gateway_turn_duration_seconds", []string{"outcome", "failed"}},
		{gateway, 1, "telecodex_gateway_turn_duration_seconds", []string{"outcome", "interrupted"}},
		{gateway, 1, "telecodex_gateway_turns", []string{"state", "interrupted"}},
		{gateway, 1, "telecodex_gateway_sends_total", []string{"kind", "question", "outcome", "sent"}},
		{gateway, 1, "telecodex_gateway_sends_total", []string{"kind", "answer", "outcome", "rate_limited"}},
		{gateway, 1, "telecodex_gateway_sends_in_doubt_total", nil},
		{gateway, 1, "telecodex_gateway_worker_restarts_total", nil},
		{gateway, 1, "telecodex_gateway_lease_held", nil},
		{gateway, 1, "telecodex_gateway_updates_received_total", []string{"outcome", "skipped"}},
		{gateway, 12, "telecodex_gateway_updates_accepted_total", nil},
		{worker, 1, "telecodex_orchestrator_turns_ended_total", []string{"state", "interrupted"}},
		{worker, 1, "telecodex_orchestrator_turn_failures_total", []string{"cause", "worker_lost"}},
		{worker, 0, "telecodex_orchestrator_slots", []string{"state", "used"}},
	} {
		if got := value(want.families, want.name, want.labels...); got != want.value {
			s.t.Errorf("%s%v = %v, want %v", want.name, want.labels, got, want.value)
		}
	}
}
