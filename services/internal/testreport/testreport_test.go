package testreport

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"telecodex.dev/services/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream string
		want   Summary
		prints string
	}{
		{
			name: "passed tests are counted and silent",
			stream: `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA/sub","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":1.23}
`,
			want:   Summary{Passed: 2},
			prints: "ok    p  2 tests, 1.2 s\n",
		},
		{
			name: "what a package leaves out is kept",
			stream: `{"Action":"output","Package":"p","Output":"left out: TestA, TestB\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"left out: not what a test says\n"}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":0.1}
`,
			want:   Summary{Passed: 1, LeftOut: []string{"p: TestA, TestB"}},
			prints: "ok    p  1 tests, 0.1 s\n",
		},
		{
			name: "the output of a failed test is shown",
			stream: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: wrong\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"noise\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p","Elapsed":0.5}
`,
			want:   Summary{Passed: 1, Failed: 1},
			prints: "    a_test.go:3: wrong\nFAIL\nFAIL  p  2 tests, 0.5 s\n",
		},
		{
			name: "a skipped test is listed with its reason",
			stream: `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no npm\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"pass","Package":"p","Elapsed":0.1}
`,
			want:   Summary{Skipped: []Skip{{"p", "TestA", "a_test.go:3: no npm"}}},
			prints: "ok    p  1 tests, 0.1 s\n",
		},
		{
			name: "a package that does not build is one failure",
			stream: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p [p.test]"}
`,
			want:   Summary{Failed: 1},
			prints: "p.go:1: undefined: x\nFAIL  p  0 tests, 0.0 s\n",
		},
		{
			name: "a package that dies shows what its open tests said",
			stream: `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t1s\n"}
{"Action":"fail","Package":"p","Elapsed":1}
`,
			want:   Summary{Failed: 1},
			prints: "FAIL\tp\t1s\npanic: test timed out\nFAIL  p  0 tests, 1.0 s\n",
		},
		{
			name:   "a package without tests is not mentioned",
			stream: `{"Action":"skip","Package":"p","Elapsed":0}` + "\n",
		},
		{
			name:   "lines that are no events are copied",
			stream: "go: no such tool\n{}",
			prints: "go: no such tool\n{}",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			got, err := Read(strings.NewReader(tt.stream), &out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.prints, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSummaryListsWhatWasSkipped(t *testing.T) {
	var out bytes.Buffer
	summary := Summary{Passed: 3, Failed: 1, Skipped: []Skip{{"p", "TestA", "no npm"}, {"q", "TestB", ""}}, LeftOut: []string{"r: TestC"}}
	if err := summary.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "\nLeft out:\n  r: TestC\n\nSkipped:\n  p TestA: no npm\n  q TestB: (no reason given)\n3 passed, 1 failed, 2 skipped\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyWhatASystemLacksMayBeSkippedThere(t *testing.T) {
	for _, tt := range []struct {
		system, reason string
		want           bool
	}{
		{"windows", "x_test.go:7: not on windows: no signal can be sent there", true},
		{"darwin", "x_test.go:7: not on windows: no signal can be sent there", false},
		{"linux", "x_test.go:7: not on linux: nothing is", false},
		{"windows", "x_test.go:7: grpcurl is not installed", false},
		{"windows", "", false},
	} {
		if got := (Skip{Reason: tt.reason}).inapplicable(tt.system); got != tt.want {
			t.Errorf("%s, %q: %v", tt.system, tt.reason, got)
		}
	}
}

// TestRun runs the real go command on a module of its own.
func TestRun(t *testing.T) {
	const module = "module example.test\n\ngo 1.26.0\n"
	for _, tt := range []struct {
		name, body, ci string
		status         int
		says           string
		args           []string
	}{
		{"passing", `t.Log("x")`, "true", 0, "1 passed, 0 failed, 0 skipped", nil},
		{"failing", `t.Fatal("WRONG")`, "", 1, "WRONG", nil},
		{"skipping", `t.Skip("no moon")`, "", 0, "no moon", nil},
		{"skipping in CI", `t.Skip("no moon")`, "true", 1, "no moon", nil},
		{"none of that name", `t.Log("x")`, "", 1, "no test matches", []string{"-run=TestNoSuch"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			test := "package example\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) { " + tt.body + " }\n"
			for name, content := range map[string]string{"go.mod": module, "it_test.go": test} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("GOWORK", "off")
			t.Chdir(dir)
			var stdout, stderr bytes.Buffer
			got := Run(t.Context(), append(tt.args, "-count=1", "./..."), environment(tt.ci), &stdout, &stderr)
			if got != tt.status || !strings.Contains(stdout.String()+stderr.String(), tt.says) {
				t.Errorf("status %d, want %d; stdout: %s; stderr: %s", got, tt.status, &stdout, &stderr)
			}
		})
	}
}

// Without a C compiler there is no race detector: in CI a failure before any test
// runs, elsewhere it is said.
func TestWithoutACCompiler(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":     "module example.test\n\ngo 1.26.0\n",
		"it_test.go": "package example\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("CC", "no-such-compiler")
	t.Chdir(dir)
	const missing = "there is no C compiler (no-such-compiler)"
	var stdout, stderr bytes.Buffer
	if got := Run(t.Context(), []string{"./..."}, environment("true"), &stdout, &stderr); got != 1 || stdout.Len() > 0 ||
		stderr.String() != "testreport: with CI=true the race detector is required: "+missing+"\n" {
		t.Errorf("in CI: status %d; stdout: %s; stderr: %s", got, &stdout, &stderr)
	}
	stderr.Reset()
	if got := Run(t.Context(), []string{"./..."}, environment(""), &stdout, &stderr); got != 0 ||
		!strings.Contains(stdout.String(), "1 passed, 0 failed, 0 skipped\nWithout the race detector: "+missing+".\n") {
		t.Errorf("elsewhere: status %d; stdout: %s; stderr: %s", got, &stdout, &stderr)
	}
}

func TestRacePrograms(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"", "GORACE=atexit_sleep_ms=0"},
		{"GORACE=halt_on_error=1 atexit_sleep_ms=5", "GORACE=atexit_sleep_ms=0 halt_on_error=1 atexit_sleep_ms=5"},
	} {
		got := leavingAtOnce([]string{"A=b", tt.set})
		if got[len(got)-1] != tt.want || got[0] != "A=b" {
			t.Errorf("%q: %q", tt.set, got)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if got := Run(ctx, []string{"./..."}, environment(""), &out, &out); got != 130 {
		t.Errorf("status %d: %s", got, &out)
	}
}

// environment knows CI alone.
func environment(ci string) lifecycle.Lookup {
	return func(name string) (string, bool) { return ci, name == "CI" }
}
