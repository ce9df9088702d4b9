package proctree_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// install puts a copy of the test binary into a directory of its own and returns its path.
func install(t *testing.T) string {
	t.Helper()
	from, err := os.Open(self())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	path := filepath.Join(t.TempDir(), "worker")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if closing := to.Close(); err != nil || closing != nil {
		t.Fatal(err, closing)
	}
	return path
}

func TestAShimStartsFromTheSmallProgramOrFromItsOwn(t *testing.T) {
	worker := install(t)
	small := filepath.Join(filepath.Dir(worker), "telecodex-contain")
	uses := func(t *testing.T, want string) {
		t.Helper()
		out, err := exec.Command(worker, helperArg, "program").Output()
		if got := string(out); err != nil || got != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	t.Run("its own where there is no other", func(t *testing.T) { uses(t, "/proc/self/exe") })
	t.Run("its own where the other is of another version", func(t *testing.T) {
		if err := os.WriteFile(small, []byte("#!/bin/sh\nexit 2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		uses(t, "/proc/self/exe")
	})
	t.Run("the small one, which contains as well", func(t *testing.T) {
		if err := os.Remove(small); err != nil {
			t.Fatal(err)
		}
		build := exec.Command("go", "build", "-buildvcs=false", "-o", small, "telecodex.dev/services/orchestrator/cmd/telecodex-contain")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		uses(t, small)
		const representative = "^Test(NoDescendant|Mask|ProcShows|Capabilities|Orphans|Interrupt|Stdin|ChildGets|SpawnErrors)"
		out, err := exec.Command(worker, "-test.run="+representative, "-test.count=1", "-test.v").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestNoDescendantSurvives ") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%d tests passed", strings.Count(string(out), "--- PASS: "))
	})
}

// program prints what a worker's shims start from.
func program([]string) int {
	s, err := proctree.New(proctree.Options{Mode: proctree.Scan})
	if err != nil {
		return 1
	}
	_, _ = io.WriteString(os.Stdout, proctree.Program(s))
	if s.Close() != nil {
		return 1
	}
	return 0
}
