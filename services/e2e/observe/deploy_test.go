package observe

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	rulesFile     = "../../../deploy/prometheus/rules/telecodex.yml"
	ruleTests     = "../../../deploy/prometheus/tests/telecodex_test.yml"
	dashboardFile = "../../../deploy/grafana/dashboards/telecodex.json"
)

var (
	selector   = regexp.MustCompile(`\b((?:telecodex|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	series     = regexp.MustCompile(`\btelecodex_(?:gateway|orchestrator)_[a-z_]+`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	ruleExpr   = regexp.MustCompile(`(?m)^        expr: (?:\|-\n((?:          .*\n)+)|(.*))`)
	ruleAlert  = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	testAlert  = regexp.MustCompile(`(?m)^      - alertname: (\w+)$`)
	testSeries = regexp.MustCompile(`series: '([^']*)'`)
	legend     = regexp.MustCompile(`\{\{\s*([a-z_]+)\s*\}\}`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// always are the labels that Prometheus itself gives, and that of a histogram's bounds.
var always = []string{"job", "instance", "le"}

// check holds an expression against the documented families and returns the labels
// that its series may have.
func check(t *testing.T, where, expression string, known map[string]documented) []string {
	t.Helper()
	labels := slices.Clone(always)
	for _, s := range selector.FindAllStringSubmatch(expression, -1) {
		name := s[1]
		if !strings.HasPrefix(name, "telecodex_") {
			continue
		}
		row, ok := known[name]
		if base := suffix.ReplaceAllString(name, ""); !ok && known[base].kind == "histogram" {
			row, ok = known[base], true
		}
		if !ok || row.kind == "histogram" && !suffix.MatchString(name) {
			t.Errorf("%s: there is no series %s", where, name)
			continue
		}
		for label := range row.labels {
			labels = append(labels, label)
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(always, m[1]) && !slices.Contains(row.labels[m[1]], m[2]) {
				t.Errorf("%s: %s has no %s=%q", where, name, m[1], m[2])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expression, -1) {
		for _, label := range strings.Split(g[1], ",") {
			if label = strings.TrimSpace(label); !slices.Contains(labels, label) {
				t.Errorf("%s: nothing has a label %q", where, label)
			}
		}
	}
	return labels
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRulesUseWhatIsThere(t *testing.T) {
	t.Parallel()
	known, rules := table(t), read(t, rulesFile)
	expressions := ruleExpr.FindAllStringSubmatch(rules, -1)
	alerts := ruleAlert.FindAllStringSubmatch(rules, -1)
	if len(alerts) < 15 || len(expressions) != len(alerts) {
		t.Fatalf("%d alerts, %d expressions", len(alerts), len(expressions))
	}
	for i, e := range expressions {
		check(t, alerts[i][1], e[1]+e[2], known)
	}
	tests, document := read(t, ruleTests), read(t, "../../../docs/OBSERVABILITY.md")
	var tried []string
	for _, a := range testAlert.FindAllStringSubmatch(tests, -1) {
		tried = append(tried, a[1])
	}
	for _, a := range alerts {
		if !slices.Contains(tried, a[1]) {
			t.Errorf("%s is not tried: no test has it fire", a[1])
		}
		if !strings.Contains(document, "| `"+a[1]+"` |") {
			t.Errorf("%s is not documented", a[1])
		}
	}
	// What the rules are tried with must be what the services have, too.
	for _, s := range testSeries.FindAllStringSubmatch(tests, -1) {
		check(t, "test", s[1], known)
	}
}

// dashboard is what is checked of a dashboard.
type dashboard struct {
	Panels []struct {
		ID      int    `json:"id"`
		Type    string `json:"type"`
		Title   string `json:"title"`
		Grid    struct{ X, Y, W, H int }
		Targets []struct{ Expr, LegendFormat string }
	} `json:"panels"`
}

func TestDashboardUsesWhatIsThere(t *testing.T) {
	t.Parallel()
	known := table(t)
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	ids, targets := map[int]bool{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d: its id is not its own, or it has no title", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			targets++
			labels := check(t, p.Title, target.Expr, known)
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: the legend shows %q, which nothing has", p.Title, l[1])
				}
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
	}
	if targets < 25 {
		t.Errorf("%d targets", targets)
	}
}

func dashboardExpressions(t *testing.T) (all []string) {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

// An autoscaler that asks for a series that nobody has does nothing, and says nothing.
func TestWhatIsDeployedNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	known, files := table(t), 0
	err := filepath.WalkDir("../../../deploy", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		files++
		for _, s := range series.FindAllString(read(t, path), -1) {
			if base := suffix.ReplaceAllString(s, ""); known[s].kind == "" && known[base].kind != "histogram" {
				t.Errorf("%s: there is no series %s", path, s)
			}
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

// promtool is Prometheus' own: on the PATH, or where .ci/run puts it.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err == nil {
		return path
	}
	path, err = filepath.Abs("../../../.tools/promtool")
	switch _, missing := os.Stat(path); {
	case err == nil && missing == nil:
	case runtime.GOOS != "linux":
		t.Skipf("not on %s: promtool is not there", runtime.GOOS)
	default:
		t.Skip("promtool is not there; .ci/run gets it from the package prometheus")
	}
	return path
}

func TestRulesDoAsTheirTestsSay(t *testing.T) {
	t.Parallel()
	tool := promtool(t)
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", ruleTests}} {
		if output, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
		}
	}
	// What the dashboard asks for must be sound, too: as rules, promtool reads it.
	var asked strings.Builder
	asked.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, expression := range dashboardExpressions(t) {
		expression = strings.ReplaceAll(expression, "$__rate_interval", "5m")
		fmt.Fprintf(&asked, "      - {record: \"dashboard:%d\", expr: %q}\n", i, expression)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, []byte(asked.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), tool, "check", "rules", "--lint=none", path).CombinedOutput(); err != nil {
		t.Errorf("the dashboard's expressions: %v\n%s", err, output)
	}
	// Its service discovery and rule files are those of a container.
	for _, config := range []string{"prometheus.yml", "prometheus-tls.yml"} {
		if output, err := exec.CommandContext(t.Context(), tool, "check", "config", "--syntax-only",
			"../../../deploy/prometheus/"+config).CombinedOutput(); err != nil {
			t.Errorf("promtool check config %s: %v\n%s", config, err, output)
		}
	}
}

// What Grafana is given agrees with itself: the data source is the overlay's
// Prometheus, the dashboard's variable finds it, and the dashboard lies where the
// provider looks.
func TestGrafanaFindsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	source := read(t, "../../../deploy/grafana/provisioning/datasources/prometheus.yml")
	provider := read(t, "../../../deploy/grafana/provisioning/dashboards/telecodex.yml")
	overlay := read(t, "../../../deploy/compose.observability.yaml")
	field := func(text, name string) string {
		found := regexp.MustCompile(`(?m)^\s*-?\s*` + name + `: (\S+)$`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("there is no %s in\n%s", name, text)
		}
		return found[1]
	}
	var d struct {
		UID        string
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			Type, Title string
			Datasource  struct{ Type, UID string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	kind := field(source, "type")
	if len(d.Templating.List) != 1 || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Query != kind || d.UID == "" {
		t.Fatalf("a data source of type %s does not fill in %v", kind, d.Templating.List)
	}
	variable := "${" + d.Templating.List[0].Name + "}"
	for _, p := range d.Panels {
		if p.Type != "row" && (p.Datasource.Type != kind || p.Datasource.UID != variable && p.Datasource.UID != field(source, "uid")) {
			t.Errorf("%s asks %v", p.Title, p.Datasource)
		}
	}
	if field(source, "isDefault") != "true" {
		t.Error("the variable begins with the default data source, and there is none")
	}
	// The service of that name listens on that port, inside of the stack's network.
	at, err := url.Parse(field(source, "url"))
	if err != nil || !strings.Contains(overlay, "\n  "+at.Hostname()+":\n") || !strings.Contains(overlay, ":"+at.Port()+`"]`) {
		t.Errorf("%s is not in the overlay: %v", at, err)
	}
	path := field(provider, "path")
	if !strings.Contains(overlay, "- ./grafana/dashboards:"+path+":ro\n") || !strings.Contains(overlay, "- ./grafana/provisioning:/etc/grafana/provisioning:ro\n") {
		t.Errorf("nothing is mounted at %s", path)
	}
	if home := field(overlay, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"); home != path+"/"+filepath.Base(dashboardFile) {
		t.Errorf("Grafana begins with %s", home)
	}
}
