package proctree_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// TestChildBeginsAsTheWorkerDid: the Go runtime raises the limit on open files and handles signals, for the worker alone. What the
// worker's own parent ignores may stay so: with make it is the C library's own signal 32.
func TestChildBeginsAsTheWorkerDid(t *testing.T) {
	const limited = `ulimit -Sn 123 && exec "$0" "$@"`
	plain, err := exec.Command("/bin/sh", "-c", limited, "/bin/sh", "-c", beginning).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, _, ignored := begun(t, plain)
	eachMode(t, func(t *testing.T, mode proctree.Mode) {
		out, err := exec.Command("/bin/sh", "-c", limited, self(), helperArg, "fresh", strconv.Itoa(int(mode))).CombinedOutput()
		if err != nil {
			t.Fatalf("%q, %v", out, err)
		}
		if files, blocks, ignores := begun(t, out); files != 123 || blocks != 0 || ignores&^ignored != 0 {
			t.Errorf("got %q; without containment %q", out, plain)
		}
	})
}

// beginning is a script that prints what it has begun with.
const beginning = "ulimit -n; exec grep -E '^Sig(Blk|Ign)' /proc/self/status"

func begun(t *testing.T, out []byte) (files int, blocks, ignores uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(string(out), "%d\nSigBlk:\t%x\nSigIgn:\t%x\n", &files, &blocks, &ignores); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return files, blocks, ignores
}

// fresh prints what a child in a mode begins with.
func fresh(args []string) int {
	mode, _ := strconv.Atoi(args[0])
	s, err := proctree.New(proctree.Options{Mode: proctree.Mode(mode)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := s.Start(proctree.Spec{
		Path: "/bin/sh", Args: []string{"-c", beginning}, Env: []string{"PATH=" + os.Getenv("PATH")},
	})
	if err == nil {
		_, err = io.Copy(os.Stdout, p.Stdout())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return p.Wait().Code
}
