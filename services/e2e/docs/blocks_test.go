package docs

import (
	"io/fs"
	"os"
	"path/filepath"
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

// blocks finds every sh block of the documents.
func blocks(t *testing.T) (found []block) {
	t.Helper()
	documents := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			documents = append(documents, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, document)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, blocksOf(filepath.ToSlash(name), string(text))...)
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
