package docs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository.
const root = "../../.."

// block is one sh block of a document.
type block struct {
	document string
	lines    []string // comments and blank lines left out
}

// documents are the texts of README.md and docs/ by their names.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.ToSlash(name)] = string(text)
	}
	return texts
}

// blocks finds every sh block of the documents.
func blocks(t *testing.T) (found []block) {
	t.Helper()
	texts := documents(t)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		found = append(found, blocksOf(name, texts[name])...)
	}
	return found
}

func blocksOf(document, text string) (found []block) {
	var inside bool
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "```sh":
			inside = true
			found = append(found, block{document: document})
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && line != "" && !strings.HasPrefix(line, "#"):
			last := &found[len(found)-1]
			last.lines = append(last.lines, line)
		}
	}
	return found
}
