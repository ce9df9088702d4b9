package structure

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a file may be.
const maxLines = 450

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 && p.Doc == "" {
			t.Errorf("%s holds tests alone and has no doc.go", p.path())
			continue
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: the package comment is %q, it begins with %q", p.path(), p.Doc, want)
		}
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	kinds := []string{".go", ".proto", ".sh", ".sql", ".yaml", ".yml", ".md"}
	for _, name := range files(t) {
		if strings.HasPrefix(name, "gen/telecodex/") || !slices.Contains(kinds, path.Ext(name)) {
			continue
		}
		if n := bytes.Count(read(t, name), []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, at most %d", name, n, maxLines)
		}
	}
}

// What is committed must make sense on any machine, and without papers that are
// not in the repository.
func TestNoFileSpeaksOfOneMachine(t *testing.T) {
	// Taken apart, so that this file passes.
	forbidden := []string{"/wo" + "rk/", "/ro" + "ot/", ".." + "/shared", "DESIGN" + ".md", "/Us" + "ers/"}
	for _, name := range files(t) {
		content := read(t, name)
		if bytes.IndexByte(content, 0) >= 0 { // binary
			continue
		}
		for number, line := range bytes.Split(content, []byte("\n")) {
			for _, word := range forbidden {
				if bytes.Contains(line, []byte(word)) {
					t.Errorf("%s:%d names %s", name, number+1, word)
				}
			}
		}
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	known := []string{
		"proto", "services", "gen", "deploy", "docs", "buf.yaml", "buf.gen.yaml", "go.work", "go.work.sum", "Makefile", "README.md", "LICENSE",
	}
	for _, name := range files(t) {
		top, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(known, top) {
			t.Errorf("%s: there is no place for %s at the top", name, top)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	info, err := os.Lstat(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
