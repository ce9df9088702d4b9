package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asExpected is a cycle in which everything was as it should be: the report is
// one that the program printed.
func asExpected(t *testing.T, c Cycle) Observation {
	t.Helper()
	stdout, err := os.ReadFile(filepath.Join("testdata", c.ID+".json"))
	if err != nil {
		t.Fatal(err)
	}
	world := &World{}
	if c.Kind == HappyPath {
		world = &World{Sent: 1, Threads: 1}
	}
	return Observation{Ran: true, Exit: c.Exit, Stdout: stdout, World: world}
}

// broken is the same with another report.
func broken(t *testing.T, o Observation, change func(report map[string]any)) Observation {
	t.Helper()
	report := o.Report()
	change(report)
	stdout, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	o.Stdout = stdout
	return o
}

func TestEveryCyclePassesWhenAllIsAsExpected(t *testing.T) {
	for _, c := range Cycles() {
		checks := c.Judge(asExpected(t, c))
		if result := ResultOfChecks(checks); result != Pass {
			t.Errorf("%s is %s: %+v", c.ID, result, checks)
		}
		names := map[string]bool{}
		for _, check := range checks {
			if names[check.Name] || check.Criterion < 1 || check.Criterion > 5 {
				t.Errorf("%s: check %+v", c.ID, check)
			}
			names[check.Name] = true
		}
	}
}

// Each signal of a report is taken away, and then contradicted: both must show,
// in the check of that name.
func TestEachSignalCounts(t *testing.T) {
	for _, c := range Cycles() {
		good := asExpected(t, c)
		for _, s := range slices.Concat(c.Kind.signals(), telemetrySignals()) {
			gone := broken(t, good, func(report map[string]any) { set(t, report, s.path, nil, true) })
			failsIn(t, c, gone, s.path, missing)
			if s.text == "present" {
				continue
			}
			wrong := broken(t, good, func(report map[string]any) { set(t, report, s.path, "contradicted", false) })
			observed := `"contradicted"`
			if strings.HasSuffix(s.path, "].code") { // who is looked for by this name is not found
				observed = missing
			}
			if strings.HasPrefix(s.path, "error_details[0].code") {
				observed = `"contradicted"`
			}
			failsIn(t, c, wrong, s.path, observed)
		}
		for _, key := range reportKeys() {
			gone := broken(t, good, func(report map[string]any) { delete(report, key) })
			failsIn(t, c, gone, key+" (key)", missing)
		}
		for _, key := range detailKeys() {
			if c.Kind == HappyPath {
				continue
			}
			gone := broken(t, good, func(report map[string]any) { set(t, report, "error_details[0]."+key, nil, true) })
			failsIn(t, c, gone, "error_details[]."+key, "missing in item 0")
		}
	}
}

func failsIn(t *testing.T, c Cycle, o Observation, name, observed string) {
	t.Helper()
	checks := c.Judge(o)
	for _, check := range checks {
		if check.Name == name {
			if check.Result != Fail || check.Observed != observed || ResultOfChecks(checks) != Fail {
				t.Errorf("%s: %+v", c.ID, check)
			}
			return
		}
	}
	t.Errorf("%s has no check %q", c.ID, name)
}

// set sets or removes what stands at a path.
func set(t *testing.T, report map[string]any, path string, value any, remove bool) {
	t.Helper()
	parent, name := any(report), path
	if i := strings.LastIndex(path, "."); i >= 0 {
		parent, _ = find(report, path[:i])
		name = path[i+1:]
	}
	name, index, indexed := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	object, ok := parent.(map[string]any)
	switch {
	case !ok:
		t.Fatalf("%s is not there", path)
	case indexed && remove:
		object[name] = []any{}
	case indexed:
		if index != "0" {
			t.Fatalf("%s cannot be set", path)
		}
		object[name] = []any{value}
	case remove:
		delete(object, name)
	default:
		object[name] = value
	}
}

func TestNumbersAreJudgedAsNumbers(t *testing.T) {
	happy, drop := Cycles()[HappyPath], Cycles()[AllowlistDrop]
	for _, tt := range []struct {
		name  string
		cycle Cycle
		path  string
		value any
	}{
		{"nothing sent", happy, "sent_count", 0},
		{"less than nothing", happy, "fetched_count", -1},
		{"a number in quotes", happy, "acked_count", "1"},
		{"half of one", happy, "acked_count", 1.5},
		{"an error", happy, "error_count", 1},
		{"a drop", happy, "dropped_count", 1},
		{"a total that differs", happy, "telemetry.counters.fetch_total", 2},
		{"a time before its beginning", happy, "telemetry.timers_ms.cycle_total", -1},
		{"a time that is no integer", happy, "telemetry.timers_ms.cycle_total", 0.5},
		{"no drop", drop, "dropped_count", 0},
		{"a drop that is an error", drop, "error_count", 1},
		{"a drop that is answered", drop, "sent_count", 1},
		{"a drop that is not counted", drop, "telemetry.counters.drop_total", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := broken(t, asExpected(t, tt.cycle), func(report map[string]any) { set(t, report, tt.path, tt.value, false) })
			failsIn(t, tt.cycle, o, tt.path, fmt.Sprintf("%v", show(tt.value)))
		})
	}
}

// Half of a millisecond is more than nothing: what is expected says what is wrong.
func TestAWholeNumberIsAskedFor(t *testing.T) {
	happy := Cycles()[HappyPath]
	for path, want := range map[string]string{"telemetry.timers_ms.cycle_total": "a whole number >=0", "sent_count": "a whole number >=1"} {
		checks := happy.Judge(broken(t, asExpected(t, happy), func(report map[string]any) { set(t, report, path, 1.5, false) }))
		i := slices.IndexFunc(checks, func(check Check) bool { return check.Name == path })
		if checks[i].Expected != want || checks[i].Observed != "1.5" || checks[i].Result != Fail {
			t.Errorf("%+v, want %q", checks[i], want)
		}
	}
}

// A failed turn that is answered all the same meets the criterion of its scenario:
// telemetry that counts the answer is valid, and telemetry that does not is not.
func TestOnlyTelemetryThatContradictsTheReportIsInvalid(t *testing.T) {
	for name, tt := range map[string]struct {
		sent, total any
		want        []int
	}{
		"counted":          {1, 1, []int{3}},
		"not counted":      {1, 0, []int{3}}, // no signal of this scenario's
		"counted, not one": {0, 1, []int{5}},
		"no count":         {1, nil, []int{3, 5}},
		"no number":        {0, "0", []int{5}},
	} {
		for _, kind := range []Kind{CodexTimeout, CodexExecFail} {
			o := broken(t, asExpected(t, Cycles()[kind]), func(report map[string]any) {
				set(t, report, "sent_count", tt.sent, false)
				set(t, report, "telemetry.counters.send_total", tt.total, tt.total == nil)
			})
			if got := Criteria(Cycles()[kind].Judge(o)); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", name, got, tt.want)
			}
		}
	}
}

func TestTheProgramItselfIsJudged(t *testing.T) {
	for _, c := range Cycles() {
		good := asExpected(t, c)
		for _, tt := range []struct {
			check  string
			change func(o *Observation)
		}{
			{"process", func(o *Observation) { o.Crash = "signal: killed" }},
			{"exit status", func(o *Observation) { o.Exit = 2 }},
			{"stdout", func(o *Observation) { o.Stdout = []byte("panic: oops") }},
			{"stdout", func(o *Observation) { o.Stdout = nil }},
			{"stdout", func(o *Observation) { o.Stdout = append(bytes.TrimSpace(o.Stdout), o.Stdout...) }},
			{"simulator: messages sent", func(o *Observation) { o.World = &World{Sent: 1 - o.World.Sent, Threads: o.World.Threads} }},
		} {
			o := good
			tt.change(&o)
			failsIn(t, c, o, tt.check, observedOf(c, o, tt.check))
		}
	}
}

func observedOf(c Cycle, o Observation, name string) string {
	checks := c.Judge(o)
	i := slices.IndexFunc(checks, func(check Check) bool { return check.Name == name })
	return checks[i].Observed
}

func TestCodexMustNotBeginWhereAMessageIsDropped(t *testing.T) {
	for _, kind := range []Kind{TransientFetch, CodexExecFail, AllowlistDrop} {
		c := Cycles()[kind]
		o := asExpected(t, c)
		o.World = &World{Threads: 1}
		failsIn(t, c, o, "simulator: Codex threads", "1")
	}
}

func TestWhatWasNotObservedNeverPasses(t *testing.T) {
	for _, c := range Cycles() {
		checks := c.Judge(Observation{})
		if len(checks) < 40 && c.Kind != HappyPath || ResultOfChecks(checks) != Untested {
			t.Errorf("%s is %s by %d checks", c.ID, ResultOfChecks(checks), len(checks))
		}
		for _, check := range checks {
			if check.Result != Untested || check.Observed != "not observed" {
				t.Errorf("%s: %+v", c.ID, check)
			}
		}
		if signals := c.KeySignals(Observation{}); signals != "" {
			t.Errorf("%s shows %q", c.ID, signals)
		}
	}
	if ResultOf(nil) != Untested || ResultOfChecks(nil) != Untested {
		t.Error("nothing at all passes")
	}
}

// idleReport is what the program prints when nobody has written.
func idleReport(t *testing.T) Observation {
	t.Helper()
	o := broken(t, asExpected(t, Cycles()[HappyPath]), func(report map[string]any) {
		for path, value := range map[string]any{"reason": "no-updates", "fetched_count": 0, "sent_count": 0, "acked_count": 0,
			"telemetry.counters.fetch_total": 0, "telemetry.counters.send_total": 0} {
			set(t, report, path, value, false)
		}
	})
	o.World = nil // live
	return o
}

// No inbound update was available: untested, neither passed nor failed.
func TestACycleThatFetchedNothingIsUntested(t *testing.T) {
	for _, c := range Cycles() {
		checks := c.Judge(idleReport(t))
		want := Untested
		if !c.Inbound { // it needs no message
			want = Fail
		}
		if result := ResultOfChecks(checks); result != want {
			t.Errorf("%s is %s, want %s: %+v", c.ID, result, want, checks)
		}
		for _, s := range c.Kind.signals() {
			i := slices.IndexFunc(checks, func(check Check) bool { return check.Name == s.path })
			if c.Inbound && checks[i].Result != Untested {
				t.Errorf("%s: %+v", c.ID, checks[i])
			}
		}
	}
}

// What can be observed without a message still counts, and only where nothing
// at all happened was there none.
func TestACycleThatFetchedNothingCanFail(t *testing.T) {
	report := func(path string, value any) func(t *testing.T, o Observation) Observation {
		return func(t *testing.T, o Observation) Observation {
			return broken(t, o, func(report map[string]any) { set(t, report, path, value, false) })
		}
	}
	for name, change := range map[string]func(t *testing.T, o Observation) Observation{
		"a crash":                   func(_ *testing.T, o Observation) Observation { o.Crash = "signal: killed"; return o },
		"another exit status":       func(_ *testing.T, o Observation) Observation { o.Exit = 1; return o },
		"no report":                 func(_ *testing.T, o Observation) Observation { o.Stdout = nil; return o },
		"a message that was there":  func(_ *testing.T, o Observation) Observation { o.World = &World{}; return o },
		"another telemetry version": report("telemetry.version", "1.0"),
		"a failure":                 report("status", "failed"),
		"another reason":            report("reason", "completed-with-errors"),
		"something fetched":         report("fetched_count", 1),
		"something sent":            report("sent_count", 1),
		"a drop":                    report("dropped_count", 1),
		"an error":                  report("error_count", 1),
	} {
		for _, c := range Cycles() {
			if checks := c.Judge(change(t, idleReport(t))); ResultOfChecks(checks) != Fail {
				t.Errorf("%s with %s is %s: %+v", c.ID, name, ResultOfChecks(checks), checks)
			}
		}
	}
}

func TestKeySignalsAreWhatWasObserved(t *testing.T) {
	want := []string{"sent_count=1,error_count=0,dropped_count=0", "code=adapter-fetch-exception,retryable=true",
		"code=codex-timeout,send_total=0", "code=codex-exec-failed,send_total=0", "dropped_count=1,code=allowlist-drop,category=drop"}
	for i, c := range Cycles() {
		if got := c.KeySignals(asExpected(t, c)); got != want[i] {
			t.Errorf("%s shows %q, want %q", c.ID, got, want[i])
		}
	}
	none := Observation{Ran: true, Stdout: []byte("{}")}
	if got := Cycles()[TransientFetch].KeySignals(none); got != "code=missing,retryable=missing" {
		t.Errorf("an empty report shows %q", got)
	}
}
