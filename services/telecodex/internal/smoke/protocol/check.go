package protocol

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Result is what a check, a cycle or a scenario came to.
type Result string

// Results.
const (
	Pass     Result = "PASS"
	Fail     Result = "FAIL"
	Untested Result = "UNTESTED"
)

// Check is one expected signal and what was observed of it.
type Check struct {
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Observed string `json:"observed"`
	Result   Result `json:"result"`
	// Criterion is the criterion for NO-GO that a failure meets, 1 to 5.
	Criterion int `json:"criterion"`
}

// signal is an expectation of a report: what stands at a path.
type signal struct {
	path string
	expectation
}

// expectation judges a value that is there; what is missing meets none.
type expectation struct {
	text string
	met  func(value any, report map[string]any) bool
}

func is(want any) expectation {
	return expectation{show(want), func(value any, _ map[string]any) bool { return value == want }}
}

// number is a whole number as a report holds it.
func number(n int) any { return json.Number(strconv.Itoa(n)) }

func atLeast(n int64) expectation {
	return expectation{fmt.Sprintf("a whole number >=%d", n), func(value any, _ map[string]any) bool {
		got, ok := whole(value)
		return ok && got >= n
	}}
}

func whole(value any) (int64, bool) {
	text, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text.String(), 10, 64)
	return n, err == nil
}

func containing(part string) expectation {
	return expectation{"contains " + show(part), func(value any, _ map[string]any) bool {
		text, ok := value.(string)
		return ok && strings.Contains(text, part)
	}}
}

// sameAs compares two whole numbers of a report.
func sameAs(path string) expectation {
	return expectation{"== " + path, func(value any, report map[string]any) bool {
		other, there := find(report, path)
		a, okA := whole(value)
		b, okB := whole(other)
		return there && okA && okB && a == b
	}}
}

func emptyList() expectation {
	return expectation{"[]", func(value any, _ map[string]any) bool {
		list, ok := value.([]any)
		return ok && len(list) == 0
	}}
}

func present() expectation {
	return expectation{"present", func(any, map[string]any) bool { return true }}
}

// missing is what is observed of a signal that is not there.
const missing = "missing"

func (s signal) judge(report map[string]any, criterion int) Check {
	check := Check{Name: s.path, Expected: s.text, Observed: missing, Result: Fail, Criterion: criterion}
	value, there := find(report, s.path)
	if !there {
		return check
	}
	check.Observed = show(value)
	if s.met(value, report) {
		check.Result = Pass
	}
	return check
}

// inEveryDetail judges that a key stands in every item of error_details, of
// which there must be one.
func inEveryDetail(key string, report map[string]any, criterion int) Check {
	check := Check{Name: "error_details[]." + key, Expected: "present in every item", Observed: "no item", Result: Fail, Criterion: criterion}
	details, _ := report["error_details"].([]any)
	if len(details) == 0 {
		return check
	}
	for i, detail := range details {
		if value, there := find(detail, key); !there || value == nil {
			check.Observed = fmt.Sprintf("missing in item %d", i)
			return check
		}
	}
	check.Observed, check.Result = fmt.Sprintf("present in %d of %d", len(details), len(details)), Pass
	return check
}
