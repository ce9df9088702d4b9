// Package testreport reads the stream of `go test -json` and says what a person
// wants to know: a line for each package as it ends, the output of what failed,
// and at the end what was skipped, and why. A skipped test looks like a passed
// one in the output of `go test`; here it cannot hide, and in CI it is a failure.
package testreport

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Summary is what a run came to. Subtests count as tests.
type Summary struct {
	Passed  int
	Failed  int
	Skipped []Skip
	// LeftOut is what packages said in lines that begin with "left out: ": tests that
	// do not belong to the run, and are not counted.
	LeftOut []string
}

// Skip is a test that did not run.
type Skip struct {
	Package string
	Test    string
	Reason  string // what the test said; empty when it said nothing
}

// inapplicable tells whether a test was skipped since a system has not got what it
// is about: such a test says "not on windows: …". Linux has everything.
func (s Skip) inapplicable(system string) bool {
	_, said, placed := strings.Cut(s.Reason, ": ") // behind file and line
	return system != "linux" && placed && strings.HasPrefix(said, "not on "+system+": ")
}

// event is a line of the stream; see `go doc cmd/test2json` and `go help
// buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	FailedBuild string
	Elapsed     float64 // seconds
}

// reader follows the tests that have begun and not ended.
type reader struct {
	out     io.Writer
	err     error
	open    map[string]map[string]*strings.Builder // package, test ("": the package) → output
	tests   map[string]int                         // ended tests of each package
	failed  map[string]bool                        // packages of which a test failed
	summary Summary
}

// Read reads the stream to its end and writes progress and failures to out as
// they come. Lines that are no events are copied.
func Read(in io.Reader, out io.Writer) (Summary, error) {
	r := &reader{out: out, open: map[string]map[string]*strings.Builder{}, tests: map[string]int{}, failed: map[string]bool{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return r.summary, r.err
		}
		if err != nil {
			return r.summary, fmt.Errorf("read test events: %w", err)
		}
	}
}

func (r *reader) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		r.print("%s", line)
		return
	}
	switch e.Action {
	case "build-output":
		r.print("%s", e.Output)
	case "output":
		r.output(e.Package, e.Test).WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnded(e)
		} else {
			r.testEnded(e)
		}
	}
}

func (r *reader) testEnded(e event) {
	output := r.output(e.Package, e.Test).String()
	delete(r.open[e.Package], e.Test)
	r.tests[e.Package]++
	switch e.Action {
	case "pass":
		r.summary.Passed++
	case "skip":
		r.summary.Skipped = append(r.summary.Skipped, Skip{Package: e.Package, Test: e.Test, Reason: reason(output)})
	case "fail":
		r.summary.Failed++
		r.failed[e.Package] = true
		r.print("%s", output)
	}
}

const leftOut = "left out: "

func (r *reader) packageEnded(e event) {
	tests := r.tests[e.Package]
	for line := range strings.Lines(r.output(e.Package, "").String()) {
		if what, ok := strings.CutPrefix(line, leftOut); ok {
			r.summary.LeftOut = append(r.summary.LeftOut, e.Package+": "+strings.TrimSpace(what))
		}
	}
	switch {
	case e.Action == "skip" || e.Action == "pass" && tests == 0: // no test files, or none selected
	case e.Action == "pass":
		r.print("ok    %s  %d tests, %.1f s\n", e.Package, tests, e.Elapsed)
	default:
		if !r.failed[e.Package] {
			// Not a test but the package itself: it does not build, panicked, or
			// its TestMain failed.
			r.summary.Failed++
		}
		if e.FailedBuild == "" {
			r.print("%s", r.unfinished(e.Package))
		}
		r.print("FAIL  %s  %d tests, %.1f s\n", e.Package, tests, e.Elapsed)
	}
	delete(r.open, e.Package)
}

// unfinished is the output of the package itself and of the tests that did not
// come to their end.
func (r *reader) unfinished(pkg string) string {
	var text strings.Builder
	names := make([]string, 0, len(r.open[pkg]))
	for name := range r.open[pkg] {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for line := range strings.Lines(r.open[pkg][name].String()) {
			if !strings.HasPrefix(line, "=== ") { // RUN, PAUSE, CONT
				text.WriteString(line)
			}
		}
	}
	return text.String()
}

func (r *reader) output(pkg, test string) *strings.Builder {
	if r.open[pkg] == nil {
		r.open[pkg] = map[string]*strings.Builder{}
	}
	if r.open[pkg][test] == nil {
		r.open[pkg][test] = &strings.Builder{}
	}
	return r.open[pkg][test]
}

func (r *reader) print(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil {
		r.err = errors.Join(r.err, err)
	}
}

// reason is what a skipped test said, without the marks of the test runner.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		said = append(said, line)
	}
	return strings.Join(said, " ")
}

// Write writes the end of the report: what was left out, where anything was, what was
// skipped, then the three numbers.
func (s Summary) Write(w io.Writer) error {
	var text strings.Builder
	if len(s.LeftOut) > 0 {
		text.WriteString("\nLeft out:\n")
	}
	for _, what := range s.LeftOut {
		fmt.Fprintf(&text, "  %s\n", what)
	}
	text.WriteString("\nSkipped:")
	if len(s.Skipped) == 0 {
		text.WriteString(" nothing\n")
	} else {
		text.WriteString("\n")
	}
	for _, skip := range s.Skipped {
		reason := skip.Reason
		if reason == "" {
			reason = "(no reason given)"
		}
		fmt.Fprintf(&text, "  %s %s: %s\n", skip.Package, skip.Test, reason)
	}
	fmt.Fprintf(&text, "%d passed, %d failed, %d skipped\n", s.Passed, s.Failed, len(s.Skipped))
	_, err := io.WriteString(w, text.String())
	return err
}
