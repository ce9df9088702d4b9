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

// TestChildBeginsAsTheWorkerDid: the Go runtime raises the limit on open files and handles signals, for the worker alone.
func TestChildBeginsAsTheWorkerDid(t *testing.T) {
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			worker := exec.Command("/bin/sh", "-c", `ulimit -Sn 123 && exec "$0" "$@"`, self(), helperArg, "fresh", strconv.Itoa(int(mode)))
			out, err := worker.CombinedOutput()
			const want = "123\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
			if err != nil || string(out) != want {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
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
		Path: "/bin/sh", Args: []string{"-c", "ulimit -n; exec grep -E '^Sig(Blk|Ign)' /proc/self/status"}, Env: []string{"PATH=" + os.Getenv("PATH")},
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
