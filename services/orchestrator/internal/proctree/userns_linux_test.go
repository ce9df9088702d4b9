package proctree

import (
	"os"
	"testing"
)

// TestRootWithoutPrivilegesFallsBackToAUserNamespace: in many a container uid 0 may make namespaces only that way.
func TestRootWithoutPrivilegesFallsBackToAUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for another user it is the only way, which every other test takes")
	}
	p := &platform{spawner: newSpawner(), way: way{name: "namespace", namespaces: true, user: true}}
	defer func() { _ = p.close() }()
	if err := p.choose([]string{selfExecutable}); err != nil {
		t.Skipf("this machine has no user namespaces: %v", err)
	}
}
