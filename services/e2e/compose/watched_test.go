//go:build compose

package compose_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// afterFaults are the expressions of the dashboard that show something only after a
// fault, by the panel's title.
var afterFaults = map[string]string{
	"Failures of turns":  "a turn failed",
	"Failures of Codex":  "Codex ended badly",
	"Streams that broke": "a worker was killed in the middle of a turn",
}

// withTLS is the panel that shows something only where there are certificates;
// TestOverlaysComeUpAndLeaveNothing looks at it.
const withTLS = "Certificates: how long they last"

// panel is one expression of the dashboard, as Grafana asks for it.
type panel struct{ title, expression string }

func (p panel) fault() bool {
	return afterFaults[p.title] != "" && strings.HasSuffix(p.expression, "> 0")
}

// panels are the dashboard's expressions, its variables filled in: of a scrape
// interval of 15 s Grafana makes a rate interval of a minute.
func panels(t *testing.T) (all []panel) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "dashboards", "telecodex.json"))
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, panel{p.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")})
		}
	}
	return all
}

// watched is a stack with Prometheus.
type watched struct {
	*stack
	prometheus
}

// look asks for panels until each has shown something.
func (w *watched) look(wanted []panel) {
	w.stack.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		wanted = slices.DeleteFunc(wanted, func(p panel) bool {
			samples := w.query(p.expression)
			return len(samples) > 0 && counted(p, samples)
		})
		if len(wanted) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.stack.t.Fatalf("these panels show nothing of it: %q", wanted)
		}
		w.pause(time.Second)
	}
}

// certificates waits until the dashboard shows each certificate of the stack, and for
// how long it is valid.
func (w *watched) certificates() {
	w.stack.t.Helper()
	all := panels(w.stack.t)
	i := slices.IndexFunc(all, func(p panel) bool { return p.title == withTLS })
	if i < 0 {
		w.stack.t.Fatalf("the dashboard has no %q", withTLS)
	}
	w.until("certificates", func() (any, bool) {
		var shown []string
		for _, s := range w.query(all[i].expression) {
			if s.value > 0 {
				shown = append(shown, s.labels["job"]+" "+s.labels["use"])
			}
		}
		slices.Sort(shown)
		return shown, slices.Equal(shown, []string{"telecodex-gateway client", "telecodex-gateway server", "telecodex-orchestrator server"})
	})
}

// quiet waits until every alert of the repository's rules is loaded, was evaluated
// without an error, and is inactive.
func (w *watched) quiet() {
	w.stack.t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "rules", "telecodex.yml"))
	if err != nil {
		w.stack.t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(text), -1)
	w.until("the alerts are", func() (any, bool) {
		rules := w.rules()
		for _, alert := range alerts {
			if rules[alert[1]] != "ok inactive" {
				return rules, false
			}
		}
		return rules, len(rules) == len(alerts) && len(rules) > 0
	})
}

// What the overlay's Prometheus finds, in the place of Grafana: the services by their
// names, every alert loaded and inactive, and for every expression of the dashboard
// something to draw. A message that was answered is seen; so are faults, where faults
// are what a panel shows.
func TestTheDashboardShowsWhatHappens(t *testing.T) {
	t.Parallel()
	needEngine(t)
	image := prometheusImage(t)
	const chat = 1001
	port := freePort(t)
	s := newStack(t, "telecodex-watched", []string{fmt.Sprint(chat)}, "compose.observability.yaml")
	s.env = append(s.env, "PROMETHEUS_IMAGE="+image, "PROMETHEUS_PORT="+port)
	w := &watched{stack: s, prometheus: prometheus{t: t, url: "http://127.0.0.1:" + port}}
	s.compose("build", "--quiet")
	s.up(2, "telegram", "gateway", "orchestrator", "prometheus")
	w.until("Prometheus scrapes", func() (any, bool) {
		well := w.targets()
		return well, well["telecodex-gateway"] == 1 && well["telecodex-orchestrator"] == 2
	})

	s.sim.write(chat, "hello")
	w.answer(chat, "You said: hello")
	all := slices.DeleteFunc(panels(t), func(p panel) bool { return p.title == withTLS })
	calm := slices.DeleteFunc(slices.Clone(all), panel.fault)
	if len(all)-len(calm) != len(afterFaults) || len(calm) < 30 {
		t.Fatalf("%d expressions, %d without a fault", len(all), len(calm))
	}
	w.look(slices.Clone(calm))
	w.quiet()

	// What a worker has counted dies with it: it is looked at before.
	s.sim.write(chat, "!scenario turn_failed\nx")
	w.look(faults(all, "Failures of turns", "Failures of Codex"))
	s.sim.write(chat, "!scenario hang\nx")
	w.until("the turn runs", func() (any, bool) {
		running := w.query(`sum(telecodex_gateway_turns{state="running"})`)
		return running, len(running) == 1 && running[0].value == 1
	})
	s.kill(s.containers("orchestrator")...)
	s.up(2, "orchestrator")
	w.look(faults(all, "Streams that broke"))
}

// faults are the expressions of these panels that show faults.
func faults(all []panel, titles ...string) (some []panel) {
	for _, p := range all {
		if p.fault() && slices.Contains(titles, p.title) {
			some = append(some, p)
		}
	}
	return some
}

// counted says that a panel shows what has happened: of those that count answers, the
// one that was given.
func counted(p panel, samples []sample) bool {
	label, value := "", ""
	switch {
	case p.title == "What has become of all updates":
		label, value = "state", "answered"
	case p.title == "Turns that ended":
		label, value = "outcome", "succeeded"
	case p.title == "Messages sent" && strings.HasPrefix(p.expression, "sum by (kind)"):
		label, value = "kind", "answer"
	default:
		return true
	}
	return slices.ContainsFunc(samples, func(s sample) bool { return s.labels[label] == value && s.value > 0 })
}
