package protocol

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDecision(t *testing.T) {
	all := func(r Result) map[string]Result {
		results := map[string]Result{}
		for _, s := range Scenarios() {
			results[s] = r
		}
		return results
	}
	but := func(results map[string]Result, scenario string, r Result) map[string]Result {
		results[scenario] = r
		return results
	}
	whole := map[string]bool{"S1": true, "S2": true, "S3": true, "S4": true}
	for _, tt := range []struct {
		name     string
		results  map[string]Result
		evidence map[string]bool
		want     Decision
	}{
		{"all passed", all(Pass), whole, Go},
		{"all passed, one file missing", all(Pass), map[string]bool{"S1": true, "S2": true, "S3": true}, Conditional},
		{"all passed, no evidence", all(Pass), nil, Conditional},
		{"one untested", but(all(Pass), "S3", Untested), whole, Conditional},
		{"one unheard of", map[string]Result{"S1": Pass, "S2": Pass, "S4": Pass}, whole, Conditional},
		{"nothing at all", nil, whole, Conditional},
		{"one failed", but(all(Pass), "S4", Fail), whole, NoGo},
		{"one failed, the rest untested", but(all(Untested), "S1", Fail), nil, NoGo},
		{"an unknown result", but(all(Pass), "S2", "pass"), whole, Conditional},
	} {
		if got := Decide(tt.results, tt.evidence); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestResultIsTheWorst(t *testing.T) {
	for _, tt := range []struct {
		results []Result
		want    Result
	}{
		{[]Result{Pass, Pass}, Pass},
		{[]Result{Pass, Untested}, Untested},
		{[]Result{Untested, Fail, Pass}, Fail},
		{[]Result{""}, Untested},
	} {
		if got := ResultOf(tt.results); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.results, got, tt.want)
		}
	}
}

func TestFailedChecksNameTheirCriteria(t *testing.T) {
	for _, c := range Cycles() {
		own := int(c.Scenario[1] - '0')
		silent := c.Judge(Observation{Ran: true, Exit: -1, Crash: "signal: killed"})
		if got := Criteria(silent); !slices.Equal(got, []int{own, 5}) {
			t.Errorf("%s without a report meets %v", c.ID, got)
		}
		telemetry := broken(t, asExpected(t, c), func(report map[string]any) {
			set(t, report, "telemetry.version", "1.0", false)
		})
		if got := Criteria(c.Judge(telemetry)); !slices.Equal(got, []int{5}) {
			t.Errorf("%s with another telemetry version meets %v", c.ID, got)
		}
		if got := Criteria(c.Judge(asExpected(t, c))); got != nil {
			t.Errorf("%s as expected meets %v", c.ID, got)
		}
	}
}

// The template that people source says what the cycles are run with.
func TestTemplateFileIsTheTemplate(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("../../../../../deploy/smoke.env.example"))
	if err != nil {
		t.Fatal(err)
	}
	operators := []Variable{
		{"CHANNEL_TOKEN", "<REDACTED_BOT_TOKEN>"},
		{"CHANNEL_ALLOWED_CHAT_IDS", "${CANARY_CHAT_ID}"},
		{"CHANNEL_CURSOR_STATE_PATH", ".channel_runtime/telegram_cursor_state.json"},
	}
	wanted := append(Template(), operators...)
	for line := range strings.Lines(string(text)) {
		export, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(export, "=")
		i := slices.Index(wanted, Variable{name, strings.Trim(value, `"`)})
		if i < 0 {
			t.Errorf("%s is not of the template, or another there", export)
			continue
		}
		wanted = slices.Delete(wanted, i, i+1)
	}
	if len(wanted) > 0 {
		t.Errorf("the file lacks %v", wanted)
	}
}

func TestPathsLeadNowhereGracefully(t *testing.T) {
	report := Observation{Stdout: []byte(`{"a":[{"b":"c"},7],"d":null}`)}.Report()
	for _, path := range []string{"a[2]", "a[-1]", "a[x]", "a[b=z]", "a.b", "d.e", "z", "a[1].b", ""} {
		if value, there := find(report, path); there {
			t.Errorf("%q leads to %v", path, value)
		}
	}
	if value, there := find(report, "a[b=c].b"); !there || value != "c" {
		t.Errorf("a[b=c].b leads to %v", value)
	}
}
