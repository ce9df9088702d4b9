package server

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Whatever a session is called, its directory lies right beneath the root, under a
// name of its own.
func TestSessionsOwnDirectories(t *testing.T) {
	root := t.TempDir()
	w := Workspaces{Root: root}
	taken := map[string]string{}
	for _, session := range []string{"telegram:1", "telegram:1:2", "telegram:12", "..", "../..", "/etc", "a/../../b", ".", "", "TELEGRAM:1", strings.Repeat("x", 256), "C:\\x", "a\x00b"} {
		dir, err := w.Dir(session, "")
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(dir) != root || !filepath.IsLocal(filepath.Base(dir)) {
			t.Errorf("%q works in %s", session, dir)
		}
		// Also where a file system does not tell upper case from lower.
		if other, again := taken[strings.ToLower(dir)]; again {
			t.Errorf("%q and %q share a directory", session, other)
		}
		taken[strings.ToLower(dir)] = session
	}
}

// What a request asks for is judged by where it leads to, not by how it is written.
func FuzzWorkingDir(f *testing.F) {
	base, err := filepath.EvalSymlinks(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	root, outside := filepath.Join(base, "root"), filepath.Join(base, "rootless")
	for _, dir := range []string{filepath.Join(root, "in"), outside} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			f.Fatal(err)
		}
	}
	if runtime.GOOS != "windows" {
		for name, target := range map[string]string{"out": outside, "up": "..", "self": "in", "loop": "loop"} {
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				f.Fatal(err)
			}
		}
	}
	w := Workspaces{Root: filepath.Join(base, "own"), Roots: []string{root}}
	for _, seed := range []string{"", "/in", "/out", "/up", "/up/rootless", "/self", "/self/../out", "/loop", "/../rootless", "/in/../../rootless", "less", "/.", "//in", "/in\x00/../out"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tail string) {
		dir, err := w.Dir("s", root+tail)
		if err != nil {
			return
		}
		if rel, err := filepath.Rel(root, dir); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("%q leads to %s", tail, dir)
		}
		if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
			t.Errorf("%q is not resolved: %s, %v", tail, real, err)
		}
	})
}
