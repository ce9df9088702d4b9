package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// Judge makes every expected signal of a cycle one check. Of a cycle that was
// not run nothing was observed, and nothing passes. Of one for which no message
// came only the program and the shape of its report were observed: what is
// expected of a message is untested.
func (c Cycle) Judge(o Observation) []Check {
	criterion := int(c.Scenario[1] - '0')
	report := o.Report()
	checks := c.process(o, report, criterion)
	for _, key := range reportKeys() {
		check := signal{key, present()}.judge(report, criterion)
		if check.Result == Pass {
			check.Observed = "present" // the report itself is in the evidence
		}
		check.Name += " (key)"
		checks = append(checks, check)
	}
	checks = append(checks, c.outcome(o, report, criterion)...)
	for _, s := range telemetrySignals() {
		checks = append(checks, s.judge(report, telemetryCriterion))
	}
	if o.World != nil {
		checks = append(checks, c.world(o, criterion)...)
	}
	for i := range checks {
		if strings.HasPrefix(checks[i].Name, "telemetry") && !agrees(checks[i].Name, report) {
			checks[i].Criterion = telemetryCriterion
		}
		if !o.Ran {
			checks[i].Observed, checks[i].Result = "not observed", Untested
		}
	}
	return checks
}

// agrees says that a counter of the telemetry tells what the report tells: then it is
// not the telemetry that is invalid, whatever else was expected of it.
func agrees(path string, report map[string]any) bool {
	count, repeated := map[string]string{
		"telemetry.counters.fetch_total": "fetched_count",
		"telemetry.counters.send_total":  "sent_count",
		"telemetry.counters.drop_total":  "dropped_count",
	}[path]
	value, there := find(report, path)
	return repeated && there && sameAs(count).met(value, report)
}

// outcome judges what the injection came to.
func (c Cycle) outcome(o Observation, report map[string]any, criterion int) (checks []Check) {
	for _, s := range c.Kind.signals() {
		checks = append(checks, s.judge(report, criterion))
	}
	if c.Kind != HappyPath { // whose error_details is empty
		for _, key := range detailKeys() {
			checks = append(checks, inEveryDetail(key, report, criterion))
		}
	}
	if c.idle(o, report) {
		for i := range checks {
			checks[i].Result = Untested
		}
	}
	return checks
}

// idle says that the message which the cycle needs did not come: by its report
// it fetched nothing, and all was well. In a simulated world it waits for certain.
func (c Cycle) idle(o Observation, report map[string]any) bool {
	if !c.Inbound || o.World != nil {
		return false
	}
	for _, s := range idleSignals() {
		if s.judge(report, 0).Result != Pass {
			return false
		}
	}
	return true
}

// process judges that the program neither crashed nor said anything but its
// report.
func (c Cycle) process(o Observation, report map[string]any, criterion int) []Check {
	ended := Check{Name: "process", Expected: "ends by itself", Observed: o.Crash, Result: Fail, Criterion: criterion}
	if o.Crash == "" {
		ended.Observed, ended.Result = "ended by itself", Pass
	}
	status := Check{Name: "exit status", Expected: fmt.Sprint(c.Exit), Observed: fmt.Sprint(o.Exit), Result: Fail, Criterion: criterion}
	if o.Exit == c.Exit {
		status.Result = Pass
	}
	output := Check{Name: "stdout", Expected: "one JSON object", Observed: "something else", Result: Fail, Criterion: criterion}
	if report != nil {
		output.Observed, output.Result = "one JSON object", Pass
	}
	return []Check{ended, status, output}
}

// world judges what the simulated Telegram and the scripted Codex saw.
func (c Cycle) world(o Observation, criterion int) []Check {
	judge := func(name, expected string, observed int, met bool) Check {
		check := Check{Name: name, Expected: expected, Observed: fmt.Sprint(observed), Result: Fail, Criterion: criterion}
		if met {
			check.Result = Pass
		}
		return check
	}
	if c.Kind == HappyPath {
		return []Check{
			judge("simulator: messages sent", ">=1", o.World.Sent, o.World.Sent >= 1),
			judge("simulator: Codex threads", ">=1", o.World.Threads, o.World.Threads >= 1),
		}
	}
	checks := []Check{judge("simulator: messages sent", "0", o.World.Sent, o.World.Sent == 0)}
	if c.Kind != CodexTimeout { // Codex may have begun before its time was up
		checks = append(checks, judge("simulator: Codex threads", "0", o.World.Threads, o.World.Threads == 0))
	}
	return checks
}

// KeySignals says in one cell what was observed of a cycle.
func (c Cycle) KeySignals(o Observation) string {
	var parts []string
	report := o.Report()
	for _, path := range c.Kind.keySignals() {
		name := path[strings.LastIndex(path, ".")+1:]
		if value, there := find(report, path); there {
			parts = append(parts, name+"="+strings.Trim(show(value), `"`))
		} else {
			parts = append(parts, name+"="+missing)
		}
	}
	if !o.Ran {
		return ""
	}
	return strings.Join(parts, ",")
}

// ResultOf is what checks, cycles or scenarios come to together: the worst of
// them. Nothing at all is untested.
func ResultOf(results []Result) Result {
	switch {
	case slices.Contains(results, Fail):
		return Fail
	case len(results) == 0, slices.ContainsFunc(results, func(r Result) bool { return r != Pass }):
		return Untested
	}
	return Pass
}

// ResultOfChecks is ResultOf of their results.
func ResultOfChecks(checks []Check) Result {
	results := make([]Result, len(checks))
	for i, c := range checks {
		results[i] = c.Result
	}
	return ResultOf(results)
}

// Decision is the protocol's: whether to roll out.
type Decision string

// Decisions.
const (
	Go          Decision = "GO"
	NoGo        Decision = "NO-GO"
	Conditional Decision = "CONDITIONAL"
)

// Decide judges the protocol from what each scenario came to and whether its
// redacted evidence was captured. A scenario that is not named is untested.
func Decide(results map[string]Result, evidence map[string]bool) Decision {
	decision := Go
	for _, scenario := range Scenarios() {
		switch {
		case results[scenario] == Fail:
			return NoGo
		case results[scenario] != Pass, !evidence[scenario]:
			decision = Conditional
		}
	}
	return decision
}

// Criteria are the numbers of the criteria for NO-GO that failed checks meet, in
// order.
func Criteria(checks []Check) (numbers []int) {
	for _, c := range checks {
		if c.Result == Fail && !slices.Contains(numbers, c.Criterion) {
			numbers = append(numbers, c.Criterion)
		}
	}
	slices.Sort(numbers)
	return numbers
}
