package crashpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/internal/crashpoint"
)

// build compiles the program of testdata and returns its path.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passes")
	args := append(append([]string{"build", "-o", path}, flags...), "./testdata/passes")
	if output, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return path
}

func TestAProcessDiesAtItsPoint(t *testing.T) {
	path := build(t, "-tags=crash")
	for name, tt := range map[string]struct {
		env  []string
		said string // on stdout, one line for each passing survived
		dies bool
	}{
		"none is named": {nil, "ssss", false},
		"the first":     {[]string{crashpoint.AtVariable + "=gateway.sent"}, "", true},
		"the third":     {[]string{crashpoint.AtVariable + "=gateway.sent", crashpoint.HitVariable + "=3"}, "ss", true},
		"never reached": {[]string{crashpoint.AtVariable + "=gateway.sent", crashpoint.HitVariable + "=5"}, "ssss", false},
		"a short lease": {[]string{crashpoint.LeaseVariable + "=1500ms"}, "ssss1.5s", false},
		"containment":   {[]string{crashpoint.ContainmentVariable + "=scan"}, "ssssscan", false},
		"no lease":      {[]string{crashpoint.LeaseVariable + "=soon"}, "ssss", false},
		"another":       {[]string{crashpoint.AtVariable + "=worker.spawned"}, "ssss", false},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			command := exec.CommandContext(t.Context(), path)
			command.Env = append(os.Environ(), tt.env...)
			command.Stdout, command.Stderr = &stdout, &stderr
			err := command.Run()
			if stdout.String() != tt.said || (err != nil) != tt.dies {
				t.Errorf("said %q: %v", stdout.String(), err)
			}
			if marked := strings.Contains(stderr.String(), crashpoint.Marker+"gateway.sent\n"); marked != tt.dies {
				t.Errorf("stderr = %q", stderr.String())
			}
		})
	}
}

func TestOtherBuildsHoldNothingOfIt(t *testing.T) {
	program, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{crashpoint.AtVariable, crashpoint.LeaseVariable, crashpoint.ContainmentVariable, crashpoint.Marker, "gateway.sent"} {
		if bytes.Contains(program, []byte(word)) {
			t.Errorf("a program without the tag holds %q", word)
		}
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[crashpoint.Point]bool{}
	for service, points := range map[string][]crashpoint.Point{"gateway.": crashpoint.Gateway(), "worker.": crashpoint.Worker()} {
		for _, p := range points {
			if seen[p] || !strings.HasPrefix(string(p), service) {
				t.Errorf("%q in the list of %s", p, service)
			}
			seen[p] = true
		}
	}
}
