package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path of the services' module.
const module = "telecodex.dev/services/"

// systems are those the programs run on; each has files of its own.
var systems = []string{"linux", "darwin", "windows"}

// listed is a package as `go list -json` describes it.
type listed struct {
	Dir          string
	ImportPath   string
	Name         string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the package's path within the module.
func (p listed) path() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the packages of the services' module, with what they import on
// any system.
func packages(t *testing.T) []listed {
	t.Helper()
	byPath := map[string]listed{}
	for _, system := range systems {
		for _, p := range list(t, system) {
			if known, ok := byPath[p.ImportPath]; ok {
				p.Imports = append(p.Imports, known.Imports...)
				p.TestImports = append(p.TestImports, known.TestImports...)
				p.XTestImports = append(p.XTestImports, known.XTestImports...)
			}
			byPath[p.ImportPath] = p
		}
	}
	for path, p := range byPath {
		for _, imports := range []*[]string{&p.Imports, &p.TestImports, &p.XTestImports} {
			slices.Sort(*imports)
			*imports = slices.Compact(*imports)
		}
		byPath[path] = p
	}
	return slices.SortedFunc(maps.Values(byPath), func(a, b listed) int { return strings.Compare(a.ImportPath, b.ImportPath) })
}

func list(t *testing.T, system string) []listed {
	t.Helper()
	// With the tags, the packages that need the real Codex or an engine are seen whole.
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags=real,compose",
		"-json=Dir,ImportPath,Name,Doc,GoFiles,Imports,TestImports,XTestImports", module+"...")
	command.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// root is the repository's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are the paths of the repository's files: committed, or about to be.
func files(t *testing.T) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = root(t)
	output, err := command.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(string(output), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(command.Dir, path)); err == nil { // else it is being deleted
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		t.Fatal("git ls-files lists nothing")
	}
	return paths
}
