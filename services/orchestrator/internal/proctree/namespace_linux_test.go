package proctree

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestRootWithoutPrivilegesFallsBackToAUserNamespace: in many a container uid 0 may make namespaces only that way.
func TestRootWithoutPrivilegesFallsBackToAUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for another user it is the only way, which every other test takes")
	}
	spawner, err := newSpawner()
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{spawner: spawner, way: way{name: "namespace", namespaces: true, user: true}}
	defer func() { _ = p.close() }()
	if err := p.try(); err != nil {
		t.Skipf("this machine has no user namespaces: %v", err)
	}
}

// TestAChildWithoutItsParentEnds: the worker may die before the child could ask for the signal of that.
func TestAChildWithoutItsParentEnds(t *testing.T) {
	spawner, err := newSpawner()
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{spawner: spawner, way: ways(Namespace)[0]}
	defer func() { _ = p.close() }()
	if err := p.try(); err != nil {
		t.Skipf("this machine has no namespaces: %v", err)
	}
	gone := exec.Command("/bin/cat")
	if _, err := gone.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	directory, err := os.Open(fmt.Sprintf("/proc/%d", gone.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gone.Wait() // it was killed
	_ = spawner.thread.Close()
	spawner.thread = directory
	if err := p.try(); !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
}
